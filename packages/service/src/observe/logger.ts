import { pino } from "pino";
import type { LogSink } from "./log-sink.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Fields of one line: an event name such as `tunnel.open`, then ids and numbers; never a token, header or payload. */
export interface LogFields {
  readonly event: string;
  readonly [name: string]: unknown;
}

/** The log of a daemon. */
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

/** JSON lines, one for each call. When lines were dropped, a line says how many as soon as lines go out again. */
export function createLogger(options: LoggerOptions, sink: Pick<LogSink, "write" | "onCaughtUp">): Logger {
  const { service, level = "info", ids = {} } = options;
  const log = pino(
    {
      level,
      base: { service, ...ids },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: CENSORED.flatMap((name) => [name, `*.${name}`]), censor: "[redacted]" },
    },
    sink,
  );
  sink.onCaughtUp((lines) => log.warn({ event: "logs.dropped", lines }, "lines of the log were dropped"));
  return log;
}
