import { createLogger, type DaemonProcess, exitCodeOf, parseDaemonFlags } from "@cluster-connect/service";
import { runEnroll } from "./commands/enroll.ts";
import { runRotate } from "./commands/rotate.ts";
import { runSecret } from "./commands/secret.ts";
import { loadAgentConfig } from "./config.ts";
import { serve } from "./serve.ts";
import { SOFTWARE } from "./version.ts";

const USAGE = `Usage: clusterconnect-agent [COMMAND] --config FILE [--check-config]

  enroll               enroll with the one-time code, write key and enrollment to stateDir, and exit
  secret read|write    copy the cluster's Secret to a folder, or back: --secret NAME --dir FOLDER [--authority-dir FOLDER]
  rotate               put a new key in the place of the one in stateDir; an agent that runs takes it by itself
  (none)               keep tunnels to the relays

  -c, --config FILE    settings; CC_CONFIG and CC_* variables work too
      --check-config   check the settings and exit
  -h, --help           this text
      --version        the version`;

/** Does what the arguments say. @returns the exit code. */
export function run(argv: readonly string[], deps: DaemonProcess): Promise<number> {
  return exitCodeOf(async () => {
    await runCommand(argv, deps);
    return 0;
  }, deps);
}

async function runCommand(argv: readonly string[], deps: DaemonProcess): Promise<void> {
  const [command, ...rest] = argv;
  // Also behind a command: asking what it does must not do it.
  if (argv.some((word) => word === "--help" || word === "-h")) return deps.stdout(USAGE);
  if (command === "enroll") return await runEnroll(rest, deps);
  if (command === "rotate") return await runRotate(rest, deps);
  if (command === "secret") return await runSecret(rest, deps);
  return await runAgent(argv, deps);
}

async function runAgent(argv: readonly string[], deps: DaemonProcess): Promise<void> {
  const flags = parseDaemonFlags(argv);
  if (flags.version) return deps.stdout(SOFTWARE);
  const config = await loadAgentConfig({ file: flags.configFile, env: deps.env });
  if (flags.checkConfig) return deps.stderr("The settings are valid.");
  const { level } = config.log;
  await serve(config, {
    signals: deps.signals,
    env: deps.env,
    software: SOFTWARE,
    createLog: (ids) => createLogger({ service: "agent", level, ids }, deps.logs),
    droppedLines: () => deps.logs.dropped,
  });
}
