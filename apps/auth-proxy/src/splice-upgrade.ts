import { setMaxListeners } from "node:events";
import { type Duplex, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createFarewell } from "./farewell.ts";
import type { LastWord } from "./last-word.ts";
import { CLOSE_TIMEOUT_MS, END_FLUSH_MS, HALF_OPEN_MS } from "./limits.ts";

export interface SpliceOptions {
  /** How the caller is told why the stream ends; undefined where that is not possible. */
  readonly lastWord: LastWord | undefined;
  /** The caller is gone. */
  readonly gone: AbortSignal;
  /** Time or an administrator ends the stream; the reason is an error. */
  readonly ended: AbortSignal;
  /** Counts bytes towards the caller. */
  readonly onBytes: (count: number) => void;
}

/**
 * What the caller sends, on its way to the apiserver.
 *
 * After the apiserver's end it is dropped. Node closes a socket whose other side has ended, and the kernel resets it
 * when something is sent nevertheless; neither may cost the caller what is still on the way to them.
 */
function towardsUpstream(socket: Duplex): Writable {
  let over = false;
  socket.once("end", () => {
    over = true;
  });
  const unlessOver =
    (done: (error?: Error | null) => void) =>
    (error?: Error | null): void =>
      done(over ? null : error);
  return new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      if (over) done();
      else socket.write(chunk, unlessOver(done));
    },
    final: (done) => {
      if (over) done();
      else socket.end(unlessOver(done));
    },
  });
}

/**
 * Joins both streams until both directions have ended, one breaks, or a signal is aborted; destroys both.
 *
 * @param upstreamHead What the apiserver sent behind its 101.
 * @throws the first failure, or the signal's reason.
 */
export async function spliceUpgrade(
  client: Duplex,
  socket: Duplex,
  upstreamHead: Buffer,
  options: SpliceOptions,
): Promise<void> {
  const { gone, ended } = options;
  const stop = new AbortController();
  const farewell = options.lastWord && createFarewell(options.lastWord, options.onBytes);
  let timer: NodeJS.Timeout | undefined;
  const later = (ms: number, then: () => void): void => {
    clearTimeout(timer);
    timer = setTimeout(then, ms);
  };
  const onGone = (): void => stop.abort(gone.reason);
  const onEnded = (): void => {
    const end = (): void => stop.abort(ended.reason);
    if (farewell === undefined) {
      end();
    } else {
      later(END_FLUSH_MS, end);
      client.once("finish", end);
      farewell.end(ended.reason);
    }
  };
  gone.addEventListener("abort", onGone, { once: true });
  ended.addEventListener("abort", onEnded, { once: true });
  // Two directions put more than ten listeners on each; their number does not grow.
  setMaxListeners(20, client, socket);
  if (upstreamHead.length > 0) socket.unshift(upstreamHead);
  if (farewell === undefined) socket.on("data", (bytes: Buffer) => options.onBytes(bytes.length));
  const { signal } = stop;
  let answered = false;
  const up = pipeline(client, towardsUpstream(socket), { signal })
    .then(() => later(HALF_OPEN_MS, () => socket.destroy()))
    .catch((error: unknown) => {
      if (!answered) throw error;
    });
  const towardsCaller = farewell === undefined ? [socket, client] : [socket, farewell.stream, client];
  const down = pipeline(towardsCaller, { signal }).then(() => {
    answered = true;
    later(CLOSE_TIMEOUT_MS, () => client.destroy());
  });
  const watched = [up, down];
  if (gone.aborted) onGone();
  if (ended.aborted) onEnded();
  try {
    await Promise.all(watched);
  } finally {
    socket.destroy();
    client.destroy();
    await Promise.allSettled(watched);
    clearTimeout(timer);
    gone.removeEventListener("abort", onGone);
    ended.removeEventListener("abort", onEnded);
  }
}
