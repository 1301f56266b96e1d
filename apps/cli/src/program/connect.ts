import { type Command, Option } from "commander";
import type { AdminFlags } from "../commands/admin/api.ts";
import type { ConnectFlags } from "../commands/connect/connect.ts";
import type { DisconnectFlags } from "../commands/connect/disconnect.ts";
import type { UpgradeFlags } from "../commands/connect/upgrade.ts";
import type { CommandContext } from "../commands/context.ts";
import { DEFAULT_NAMESPACE } from "../connect/default-namespace.ts";
import { collect, parseSeconds } from "./arguments.ts";
import { withRelay, withTokens } from "./flags.ts";

/** Where the exit code of the steps goes. */
interface ExitCode {
  exitCode: number;
}

const TIMEOUT_SECONDS = 300;

/** `connect`, `upgrade`, `disconnect`, `enable`, `disable`: what an administrator of a cluster does. */
export function addConnect(program: Command, context: CommandContext, result: ExitCode): void {
  const connect = program
    .command("connect")
    .description("connect the cluster of your kubeconfig to a relay: look first, install, wait until it is reached")
    .requiredOption("-n, --name <name>", "the cluster's name at the relay")
    .option("--code <code>", "one-time code (default: made at the relay, by an administrator)")
    .option("--code-file <path>", "file with the code")
    .option("--fleet-key-file <path>", "private fleet key that signs the cluster's authority")
    .option("--impersonate-user <name>", "a user whom the auth proxy may act as; may be repeated", collect)
    .option("--impersonate-group <name>", "a group that it may act with; may be repeated", collect)
    .option("--authentication <path>", "whose tokens are believed: Kubernetes' AuthenticationConfiguration")
    .addHelpText("after", CONNECT_HELP);
  withTokens(withRelay(inCluster(withChart(connect)))).action(async (flags: ConnectFlags) => {
    result.exitCode = await (await import("../commands/connect/connect.ts")).connect(flags, context);
  });
  const upgrade = program.command("upgrade").description("bring a connected cluster to this version, its values kept");
  inCluster(withChart(upgrade)).action(async (flags: UpgradeFlags) => {
    result.exitCode = await (await import("../commands/connect/upgrade.ts")).upgrade(flags, context);
  });
  const disconnect = program
    .command("disconnect")
    .description("take everything out of the cluster again, and revoke its keys at the relay")
    .option("--keep-at-relay", "leave the relay as it is");
  withTokens(withRelay(inCluster(disconnect))).action(async (flags: DisconnectFlags) => {
    result.exitCode = await (await import("../commands/connect/disconnect.ts")).disconnect(flags, context);
  });
  for (const word of ["disable", "enable"] as const) {
    const what =
      word === "disable"
        ? "take a cluster out of service at the relay"
        : "put a cluster into service at the relay again";
    const command = program.command(word).description(what).requiredOption("-n, --name <name>", "the cluster");
    withTokens(withRelay(command)).action(async (flags: AdminFlags & { readonly name: string }) => {
      const { switchCluster } = await import("../commands/admin/clusters.ts");
      await switchCluster(flags.name, word === "disable", flags, context);
    });
  }
}

const CONNECT_HELP = `
Nothing is changed before every check has passed, and --dry-run changes nothing at all. To repeat it is safe.

Examples:
  cluster-connect issuers oidc --url https://id.example.com --audience 'https://k8s.example.com/{cluster}' -f authentication.yaml
  cluster-connect connect -n staging --authentication authentication.yaml
  cluster-connect connect -n staging --code-file code.txt --dry-run
  cluster-connect connect -n staging --impersonate-group oidc:team --impersonate-user oidc:jane`;

/** Flags that say which cluster is changed. */
function inCluster(command: Command): Command {
  return command
    .option("--kubeconfig <path>", "kubeconfig of the cluster (default: as kubectl does)")
    .option("--kube-context <name>", "its context (default: the current one)")
    .option("--namespace <name>", "namespace of the installation", DEFAULT_NAMESPACE)
    .addOption(
      new Option("--timeout <time>", "how long pods are waited for")
        .argParser(parseSeconds)
        .default(TIMEOUT_SECONDS, "5m"),
    )
    .addOption(new Option("-o, --output <format>", "how to show the steps").choices(["text", "json"]).default("text"));
}

function withChart(command: Command): Command {
  return command
    .option("--chart <place>", "another chart than the one of this program")
    .option("--values <path>", "values for the chart; may be repeated", collect)
    .option("--set <name=value>", "one value; may be repeated", collect)
    .option("--dry-run", "look, and say what would be done");
}
