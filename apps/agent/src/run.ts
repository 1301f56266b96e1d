import { createLogger, type DaemonProcess, exitCodeOf, parseDaemonFlags } from "@cluster-connect/service";
import { loadAgentConfig } from "./config.ts";
import { serve } from "./serve.ts";
import { SOFTWARE } from "./version.ts";

const USAGE = `Usage: clusterconnect-agent --config FILE [--check-config]

  -c, --config FILE    settings; CC_CONFIG and CC_* variables work too
      --check-config   check the settings and exit
  -h, --help           this text
      --version        the version`;

/** Does what the arguments say. @returns the exit code. */
export function run(argv: readonly string[], deps: DaemonProcess): Promise<number> {
  return exitCodeOf(async () => {
    await runAgent(argv, deps);
    return 0;
  }, deps);
}

async function runAgent(argv: readonly string[], deps: DaemonProcess): Promise<void> {
  const flags = parseDaemonFlags(argv);
  if (flags.help) return deps.stdout(USAGE);
  if (flags.version) return deps.stdout(SOFTWARE);
  const config = await loadAgentConfig({ file: flags.configFile, env: deps.env });
  if (flags.checkConfig) return deps.stderr("The settings are valid.");
  const { level } = config.log;
  await serve(config, {
    signals: deps.signals,
    software: SOFTWARE,
    createLog: (ids) => createLogger({ service: "agent", level, ids }),
  });
}
