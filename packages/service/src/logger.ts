import { type DestinationStream, destination, pino } from "pino";

export type LogLevel = "debug" | "info" | "warn" | "error";
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Fields of one line: an event name such as `tunnel.open`, then ids and numbers; never a token, header or payload. */
export interface LogFields {
  readonly event: string;
  readonly [name: string]: unknown;
}

/** What the daemons log through. */
export interface Logger {
  debug(fields: LogFields, message?: string): void;
  info(fields: LogFields, message?: string): void;
  warn(fields: LogFields, message?: string): void;
  error(fields: LogFields, message?: string): void;
  /** A logger that adds these ids to each line. */
  child(ids: Readonly<Record<string, unknown>>): Logger;
}

export interface LoggerOptions {
  /** Name of the daemon, on each line. */
  readonly service: string;
  readonly level?: LogLevel;
  /** Ids on each line, such as the instance id. */
  readonly ids?: Readonly<Record<string, unknown>>;
}

/** Should a secret ever get into a field by one of these names, its value is not written. */
const CENSORED = ["token", "authorization", "key", "code_verifier", "secret", "password", "cookie", "signature"];

/** JSON lines on stderr, so that stdout belongs to what a command prints; written at once, so a crash loses none. */
export function createLogger(options: LoggerOptions, stream: DestinationStream = stderr()): Logger {
  const { service, level = "info", ids = {} } = options;
  return pino(
    {
      level,
      base: { service, ...ids },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: CENSORED.flatMap((name) => [name, `*.${name}`]), censor: "[redacted]" },
    },
    stream,
  );
}

function stderr(): DestinationStream {
  return destination({ fd: 2, sync: true });
}
