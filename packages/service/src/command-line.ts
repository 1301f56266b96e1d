import { parseArgs } from "node:util";
import { ConnectError } from "@cluster-connect/protocol";

/** The flags that every daemon takes. */
export interface DaemonFlags {
  /** `--config FILE`. */
  readonly configFile: string | undefined;
  /** `--check-config`: read the settings, say whether they are right, and exit. */
  readonly checkConfig: boolean;
  readonly help: boolean;
  readonly version: boolean;
}

/** @throws ConnectError `CC_USAGE` naming the argument that is not known. */
export function parseDaemonFlags(argv: readonly string[]): DaemonFlags {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        config: { type: "string", short: "c" },
        "check-config": { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
        version: { type: "boolean", default: false },
      },
    });
    const { config, help, version } = values;
    return { configFile: config, checkConfig: values["check-config"], help, version };
  } catch (cause) {
    throw usageError(cause);
  }
}

/** `CC_USAGE` with the first sentence of what `parseArgs` found, or all of it where it is about a value with a dash. */
export function usageError(cause: unknown): ConnectError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const sentence = message.split(". ", 1)[0] ?? message;
  return new ConnectError("CC_USAGE", sentence.replaceAll(/\s*\n\s*/g, " "), { cause });
}
