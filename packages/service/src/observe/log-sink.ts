import type { Clock } from "@cluster-connect/base";
import { type Outlet, openOutlet } from "./outlet.ts";

/**
 * Where log lines go. Nothing waits for it: lines are kept up to a bound while the far end does not take them, and
 * dropped beyond it.
 */
export interface LogSink {
  /** Takes a line with its line break; never waits and never fails. */
  write(line: string): void;
  /** Lines that were dropped since the start. */
  readonly dropped: number;
  /** Calls back with the number of lines that were dropped since the last call, when lines go out again. */
  onCaughtUp(tell: (lines: number) => void): void;
  /** Resolves when every line is out, or when the time is up; nothing is written later. */
  close(options: { readonly timeoutMs: number }): Promise<void>;
}

export interface LogSinkOptions {
  /** Bytes that wait at most. */
  readonly maxBytes?: number;
}

const MAX_BYTES = 1_048_576;
/** Bytes that go out in one write, at most. */
const CHUNK_BYTES = 65_536;

/** @param deps.outlet of the process's stderr, unless given. */
export function createLogSink(
  options: LogSinkOptions,
  deps: { readonly clock: Clock; readonly outlet?: Outlet },
): LogSink {
  const { maxBytes = MAX_BYTES } = options;
  const outlet = deps.outlet ?? openOutlet(2);
  const waiting: Buffer[] = [];
  let waitingBytes = 0;
  let dropped = 0;
  let told = 0;
  let isWriting = false;
  let isClosed = false;
  let tellCaughtUp: ((lines: number) => void) | undefined;
  let onIdle: (() => void) | undefined;

  function write(line: string): void {
    const bytes = Buffer.from(line);
    if (isClosed || waitingBytes + bytes.length > maxBytes) {
      dropped += 1;
      return;
    }
    waiting.push(bytes);
    waitingBytes += bytes.length;
    if (!isWriting) writeNext();
  }

  function writeNext(): void {
    const lines = takeLines();
    if (lines.length === 0) {
      onIdle?.();
      return;
    }
    isWriting = true;
    const chunk = Buffer.concat(lines);
    outlet.write(chunk, (error) => {
      isWriting = false;
      waitingBytes -= chunk.length;
      if (error !== null) dropped += lines.length;
      else if (waiting.length === 0) tellDropped();
      if (!isWriting) writeNext();
    });
  }

  function takeLines(): readonly Buffer[] {
    let bytes = 0;
    let count = 0;
    for (const line of waiting) {
      if (count > 0 && bytes + line.length > CHUNK_BYTES) break;
      bytes += line.length;
      count += 1;
    }
    return waiting.splice(0, count);
  }

  function tellDropped(): void {
    const lines = dropped - told;
    if (lines === 0 || isClosed) return;
    told = dropped;
    tellCaughtUp?.(lines);
  }

  return {
    write,
    get dropped() {
      return dropped;
    },
    onCaughtUp(tell) {
      tellCaughtUp = tell;
    },
    async close({ timeoutMs }) {
      const idle = Promise.withResolvers<void>();
      onIdle = idle.resolve;
      if (!isWriting) idle.resolve();
      const timer = deps.clock.setTimer(timeoutMs, idle.resolve);
      await idle.promise;
      timer.cancel();
      isClosed = true;
      outlet.close();
    },
  };
}
