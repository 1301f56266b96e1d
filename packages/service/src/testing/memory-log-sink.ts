import type { LogSink } from "../observe/log-sink.ts";

/** A sink that keeps its lines. */
export interface MemoryLogSink extends LogSink {
  readonly lines: readonly string[];
}

export function createMemoryLogSink(): MemoryLogSink {
  const lines: string[] = [];
  return { lines, write: (line) => void lines.push(line), dropped: 0, onCaughtUp: () => {}, close: async () => {} };
}
