import { Argument, Command, Option } from "commander";
import type { ClustersFlags } from "../commands/cluster/clusters.ts";
import type { DoctorFlags } from "../commands/cluster/doctor.ts";
import type { ExplainFlags } from "../commands/cluster/explain.ts";
import type { TrustFlags } from "../commands/cluster/trust.ts";
import type { WaitFlags } from "../commands/cluster/wait.ts";
import type { CommandContext } from "../commands/context.ts";
import type { CredentialFlags } from "../commands/login/credential.ts";
import type { LoginFlags } from "../commands/login/login.ts";
import type { LogoutFlags } from "../commands/login/logout.ts";
import type { ExitCodesFlags } from "../commands/program/exit-codes.ts";
import type { VersionFlags } from "../commands/program/show-version.ts";
import type { LogsFlags } from "../commands/proxy/logs.ts";
import type { ProxyFlags } from "../commands/proxy/proxy.ts";
import type { RunFlags } from "../commands/proxy/run.ts";
import type { StatusFlags } from "../commands/proxy/status.ts";
import type { StopFlags } from "../commands/proxy/stop.ts";
import { SHELLS, type Shell } from "../completion/shells.ts";
import { OUTPUT_FORMATS } from "../terminal/listing.ts";
import { VERSION } from "../version.ts";
import { addAdmin } from "./admin.ts";
import { collect, parsePort, parseSeconds } from "./arguments.ts";
import { addConnect } from "./connect.ts";
import { addExamples } from "./examples.ts";
import { exitCodesHelp } from "./exit-codes-help.ts";
import { execApiOption, textOrJson, waitOption, withClusterTrust, withNames, withRelay, withTokens } from "./flags.ts";
import { addFleetKey, addSign } from "./fleet.ts";
import { addIssuers } from "./issuers.ts";
import { addKubeconfig } from "./kubeconfig.ts";

/** The port that Arc's command uses. */
const DEFAULT_PORT = 47_011;
const DEFAULT_IDLE_SECONDS = 5;
const RESOURCE_PARAMETERS = ["resource", "scope", "audience"];

/** Where a program's exit code goes. */
export interface ProgramResult {
  exitCode: number;
}

/**
 * The commands and their flags; `argv` holds the arguments of a process in the background. Each command's code is
 * loaded when it runs, so that help and `credential` start fast.
 */
export function createProgram(argv: readonly string[], context: CommandContext, result: ProgramResult): Command {
  const { stdout, stderr } = context.deps;
  const program = new Command("cluster-connect")
    .description("Uses Kubernetes clusters behind firewalls with plain kubectl, under your own identity.")
    .version(VERSION, "-V, --version")
    .helpCommand("help [command]", "explain a command")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      // Errors are shown by the program's caller, in its own form.
      writeErr: () => {},
      getOutHelpWidth: () => stdout.columns,
      getErrHelpWidth: () => stderr.columns,
      getOutHasColors: () => false,
    })
    .addHelpText("after", TOP_HELP);
  if (argv[0] === "credential") {
    // kubectl waits for it each time it starts: the other commands are not even described.
    addCredential(program, context);
    addExamples(program);
    return program;
  }
  addLogin(program, context);
  addLogout(program, context);
  addClusters(program, context);
  addProxy(program, context, argv);
  addKubeconfig(program, context);
  addRunning(program, context);
  addRun(program, context, result);
  addDoctor(program, context, result);
  addExplain(program, context);
  addIssuers(program, context);
  addConnect(program, context, result);
  addFleetKey(program, context);
  addAdmin(program, context, result);
  addCredential(program, context);
  addRelay(program, context, result);
  addCompletion(program, context);
  addVersion(program, context);
  addExamples(program);
  return program;
}

const TOP_HELP = `
Start with:
  cluster-connect login --relay https://relay.example.com
  cluster-connect clusters
  cluster-connect run -n NAME -- kubectl get namespaces
  cluster-connect proxy -n NAME`;

function addLogin(program: Command, context: CommandContext): void {
  const command = program.command("login").description("sign in for a relay and its clusters, and remember the relay");
  withRelay(command)
    .option("--device-code", "sign in on another device, with a code that is shown here")
    .option("--no-browser", "print the address instead of opening a browser")
    .option(
      "-n, --name <name>",
      "cluster to sign in for, where each has an audience of its own; may be repeated",
      collect,
    )
    .option("--issuer <url>", "issuer, in place of the relay's choice (CLUSTER_CONNECT_ISSUER)")
    .option("--client-id <id>", "client at the issuer, in place of the relay's choice")
    .option("--tenant <tenant>", "tenant of Entra, in place of the relay's choice")
    .option("--entra", "the issuer is Entra, also where its host is none of Microsoft's")
    .option("--service-principal", "sign in as an application, by one of the next three, AZURE_* or the job's token")
    .option("--certificate <path>", "the application's certificate with its key, PEM")
    .option("--client-secret-file <path>", "the application's secret, - for standard input (AZURE_CLIENT_SECRET)")
    .option("--federated-token-file <path>", "another issuer's token (AZURE_FEDERATED_TOKEN_FILE: workload identity)")
    .option("--identity", "sign in as this machine's managed identity; --client-id chooses one of several")
    .option("--azure-cli", "use the sign-in of az")
    .addOption(new Option("--use-device-code", "as az login calls it").hideHelp())
    .option("--scope <scope>", "scope to ask for, in place of the relay's choice; may be repeated", collect)
    .option(
      "--relay-audience <audience>",
      "audience of the relay's token, where it is not the relay's address (CLUSTER_CONNECT_RELAY_AUDIENCE)",
    )
    .option(
      "--cluster-audience <audience>",
      "audience of the clusters' token, in place of the relay's choice (CLUSTER_CONNECT_CLUSTER_AUDIENCE)",
    )
    .addOption(
      new Option("--resource-parameter <how>", "how the issuer is told the audience").choices(RESOURCE_PARAMETERS),
    )
    .option(
      "--fleet-key <key>",
      "key that signs the clusters' authorities, or a file with it (CLUSTER_CONNECT_FLEET_KEY)",
    )
    .option("--fleet-revocations <path>", "what the fleet key has taken back (CLUSTER_CONNECT_FLEET_REVOCATIONS)")
    .action(async (flags: LoginFlags) => await (await import("../commands/login/login.ts")).login(flags, context));
}

function addLogout(program: Command, context: CommandContext): void {
  const command = program.command("logout").description("forget the tokens of a relay");
  withRelay(command)
    .option("--all", "forget every login")
    .action(async (flags: LogoutFlags) => await (await import("../commands/login/logout.ts")).logout(flags, context));
}

function addClusters(program: Command, context: CommandContext): void {
  const command = program.command("clusters").description("list the clusters you may reach");
  withTokens(withRelay(command))
    .addOption(new Option("-o, --output <format>", "how to list them").choices([...OUTPUT_FORMATS]).default("table"))
    .action(
      async (flags: ClustersFlags) => await (await import("../commands/cluster/clusters.ts")).clusters(flags, context),
    );
  const trust = command.command("trust").description("show or replace the certificate authority trusted for a cluster");
  withTokens(withRelay(trust))
    .option("-n, --name <name>", "the cluster", collect)
    .option("--fingerprint <sha256>", "trust the authority with this fingerprint, as its administrator told you")
    .addOption(textOrJson())
    .action(async (flags: TrustFlags) => await (await import("../commands/cluster/trust.ts")).trust(flags, context));
  addSign(command, context);
}

function addProxy(program: Command, context: CommandContext, argv: readonly string[]): void {
  const command = program
    .command("proxy")
    .description("open a local port to clusters, and add them to the kubeconfig until Ctrl-C")
    .addHelpText("after", PROXY_HELP);
  withClusterTrust(withTokens(withRelay(withNames(command))))
    .option("--port <port>", "local port; 0 takes any free one", parsePort, DEFAULT_PORT)
    .option("-f, --file <path>", "kubeconfig to change, - to print it (default: as kubectl does)")
    .option("--kube-context <name>", "name of the context (default: the cluster's name)")
    .addOption(execApiOption())
    .option("--keep", "leave the context in the kubeconfig at the end")
    .option("--ready-file <path>", "write this file when the cluster has answered, remove it at the end")
    .option("--detach", "run in the background, and come back when the clusters have answered")
    .addOption(new Option("--log-file <path>").hideHelp())
    .addOption(new Option("--serve-only").hideHelp())
    .addOption(waitOption())
    .action(async (flags: ProxyFlags & { readonly detach?: boolean }) => {
      if (flags.detach !== true) return await (await import("../commands/proxy/proxy.ts")).serveProxy(flags, context);
      const own = argv.filter((word) => word !== "--detach");
      return await (await import("../commands/proxy/detach.ts")).detachProxy(flags, own, context);
    });
}

function addRunning(program: Command, context: CommandContext): void {
  const names = (command: Command): Command =>
    command.option("-n, --name <name>", "the cluster; may be repeated", collect);
  program
    .command("status")
    .description("list the proxies that are running")
    .addOption(new Option("-o, --output <format>", "how to list them").choices([...OUTPUT_FORMATS]).default("table"))
    .action(
      async (flags: StatusFlags) => await (await import("../commands/proxy/status.ts")).showStatus(flags, context),
    );
  names(program.command("stop").description("end proxies and take their contexts out of the kubeconfig"))
    .option("--all", "end every proxy of yours")
    .action(async (flags: StopFlags) => await (await import("../commands/proxy/stop.ts")).stopProxies(flags, context));
  names(program.command("logs").description("show what a proxy in the background has said")).action(
    async (flags: LogsFlags) => await (await import("../commands/proxy/logs.ts")).showLogs(flags, context),
  );
  names(program.command("wait").description("wait until a proxy to a cluster is ready"))
    .addOption(new Option("--timeout <time>", "how long to wait").argParser(parseSeconds).default(60, "60s"))
    .action(async (flags: WaitFlags) => await (await import("../commands/cluster/wait.ts")).wait(flags, context));
}

const PROXY_HELP = `
With several clusters the port leads to all of them by the server name, and each context has a port of its own beside it,
for clients that send no server name.

Examples:
  cluster-connect proxy -n staging
  cluster-connect proxy -n staging -n production --port 0
  cluster-connect proxy -n staging -f - > staging.kubeconfig`;

function addRun(program: Command, context: CommandContext, result: ProgramResult): void {
  const command = program
    .command("run")
    .description("run a command with a kubeconfig of its own, and remove everything afterwards")
    .argument("<command...>", "the command and its arguments")
    .passThroughOptions()
    .addHelpText("after", RUN_HELP);
  withClusterTrust(withTokens(withRelay(withNames(command))))
    .addOption(execApiOption())
    .addOption(waitOption())
    .action(async (words: readonly string[], flags: RunFlags) => {
      result.exitCode = await (await import("../commands/proxy/run.ts")).runWithClusters(flags, words, context);
    });
}

const RUN_HELP = `
The exit code is the command's own. With several clusters, the first is the current context. All that the command sent is
waited for after its end: connections that are not over within 10 s are cut off, with a warning. Ctrl-C ends the waiting.

Examples:
  cluster-connect run -n staging -- kubectl get pods -A
  cluster-connect run -n staging -- helm upgrade --install web ./chart`;

function addDoctor(program: Command, context: CommandContext, result: ProgramResult): void {
  const command = program.command("doctor").description("check every hop and say which one fails and what to do");
  withClusterTrust(withTokens(withRelay(command)))
    .option("-n, --name <name>", "a cluster to check (default: all you may reach); may be repeated", collect)
    .addOption(
      new Option("--idle-seconds <time>", "how long to say nothing, to see whether something cuts the channel; 0: not")
        .argParser(parseSeconds)
        .default(DEFAULT_IDLE_SECONDS, `${DEFAULT_IDLE_SECONDS}s`),
    )
    .option("--bundle <file>", "also write an archive (.tar.gz) for whoever helps, without secrets")
    .addHelpText("after", DOCTOR_HELP)
    .addOption(textOrJson())
    .action(async (flags: DoctorFlags) => {
      result.exitCode = await (await import("../commands/cluster/doctor.ts")).doctor(flags, context);
    });
}

const DOCTOR_HELP = `
The exit code is that of the first check that failed.

Examples:
  cluster-connect doctor
  cluster-connect doctor -n staging --idle-seconds 90s
  cluster-connect doctor --bundle doctor.tar.gz`;

function addExplain(program: Command, context: CommandContext): void {
  const command = program.command("explain").description("show what your token says and who a cluster takes you for");
  withClusterTrust(withTokens(withRelay(withNames(command))))
    .addOption(textOrJson())
    .action(
      async (flags: ExplainFlags) => await (await import("../commands/cluster/explain.ts")).explain(flags, context),
    );
}

function addCredential(program: Command, context: CommandContext): void {
  const command = program.command("credential").description("print a token the way kubectl asks for it (exec plugin)");
  withClusterTrust(withTokens(withRelay(command)))
    .option("-n, --name <name>", "the cluster; with --port, start a proxy to it when none runs there")
    .option("--port <port>", "the proxy's port", parsePort)
    .addOption(
      new Option("--audience <whose>", "whose token: kubectl wants the cluster's; a job masks the relay's, too")
        .choices(["cluster", "relay"])
        .default("cluster"),
    )
    .addOption(execApiOption())
    .action(
      async (flags: CredentialFlags) =>
        await (await import("../commands/login/credential.ts")).credential(flags, context),
    );
}

function addCompletion(program: Command, context: CommandContext): void {
  program
    .command("completion")
    .description("print a script that completes commands, flags and clusters")
    .addArgument(new Argument("<shell>", "the shell").choices([...SHELLS]))
    .addHelpText("after", COMPLETION_HELP)
    .action(
      async (shell: Shell) =>
        await (await import("../commands/program/completion.ts")).printCompletion(shell, program, context),
    );
  program
    .command("exit-codes")
    .description("list the exit codes and what to do about each")
    .addOption(new Option("-o, --output <format>", "how to list them").choices([...OUTPUT_FORMATS]).default("table"))
    .addHelpText("after", exitCodesHelp)
    .action(
      async (flags: ExitCodesFlags) =>
        await (await import("../commands/program/exit-codes.ts")).listExitCodes(flags, context),
    );
}

function addVersion(program: Command, context: CommandContext): void {
  program
    .command("version")
    .description("show the version of this program")
    .addOption(textOrJson())
    .action(async (flags: VersionFlags) =>
      (await import("../commands/program/show-version.ts")).showVersion(flags, context),
    );
}

const COMPLETION_HELP = `
Examples:
  source <(cluster-connect completion bash)
  cluster-connect completion fish > ~/.config/fish/completions/cluster-connect.fish`;

function addRelay(program: Command, context: CommandContext, result: ProgramResult): void {
  program
    .command("relay")
    .description("start the relay's own program, cluster-connect-relay, with these arguments")
    .argument("[arguments...]")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: readonly string[]) => {
      result.exitCode = await (await import("../commands/admin/relay.ts")).relay(args, context);
    });
}
