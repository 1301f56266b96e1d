import type { LogFields, Logger, LogLevel } from "../observe/logger.ts";

export interface MemoryLine extends LogFields {
  readonly level: LogLevel;
}

/** A logger that keeps its lines, and can wait for one. */
export interface MemoryLogger extends Logger {
  readonly lines: readonly MemoryLine[];
  /** The first line with this event, also one that is still to come. */
  once(event: string): Promise<MemoryLine>;
}

export function createMemoryLogger(): MemoryLogger {
  const lines: MemoryLine[] = [];
  const waiting = new Map<string, ((line: MemoryLine) => void)[]>();
  const write = (level: LogLevel, ids: Readonly<Record<string, unknown>>, fields: LogFields): void => {
    const line = { level, ...ids, ...fields };
    lines.push(line);
    for (const resolve of waiting.get(line.event) ?? []) resolve(line);
    waiting.delete(line.event);
  };
  const logger = (ids: Readonly<Record<string, unknown>>): Logger => ({
    debug: (fields) => write("debug", ids, fields),
    info: (fields) => write("info", ids, fields),
    warn: (fields) => write("warn", ids, fields),
    error: (fields) => write("error", ids, fields),
    child: (more) => logger({ ...ids, ...more }),
  });
  return {
    ...logger({}),
    lines,
    once(event) {
      const found = lines.find((line) => line.event === event);
      if (found !== undefined) return Promise.resolve(found);
      return new Promise((resolve) => waiting.set(event, [...(waiting.get(event) ?? []), resolve]));
    },
  };
}
