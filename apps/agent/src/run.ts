import {
  createLogger,
  describeFailure,
  type Environment,
  parseDaemonFlags,
  type SignalSource,
} from "@cluster-connect/service";
import { loadAgentConfig } from "./config.ts";
import { serve } from "./serve.ts";
import { readSoftware } from "./version.ts";

/** The process, as an argument. */
export interface RunDeps {
  readonly env: Environment;
  readonly signals: SignalSource;
  /** Writes a line. */
  readonly stdout: (line: string) => void;
  readonly stderr: (line: string) => void;
}

const USAGE = `Usage: clusterconnect-agent --config FILE [--check-config]

  -c, --config FILE    settings; CC_CONFIG and CC_* variables work too
      --check-config   check the settings and exit
  -h, --help           this text
      --version        the version`;

/** Does what the arguments say. @returns the exit code. */
export async function run(argv: readonly string[], deps: RunDeps): Promise<number> {
  try {
    await runAgent(argv, deps);
    return 0;
  } catch (error) {
    const { text, exitCode } = describeFailure(error);
    deps.stderr(text);
    return exitCode;
  }
}

async function runAgent(argv: readonly string[], deps: RunDeps): Promise<void> {
  const flags = parseDaemonFlags(argv);
  if (flags.help) return deps.stdout(USAGE);
  if (flags.version) return deps.stdout(readSoftware());
  const config = await loadAgentConfig({ file: flags.configFile, env: deps.env });
  if (flags.checkConfig) return deps.stderr("The settings are valid.");
  const { level } = config.log;
  await serve(config, {
    signals: deps.signals,
    software: readSoftware(),
    createLog: (ids) => createLogger({ service: "agent", level, ids }),
  });
}
