import { setMaxListeners } from "node:events";
import { type Duplex, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Clock, onAbort, type Timer } from "@cluster-connect/base";
import { CLOSE_TIMEOUT_MS, END_FLUSH_MS, HALF_OPEN_MS } from "../limits/limits.ts";
import type { FinalMessage } from "./final-message.ts";
import { createFinalMessageStream } from "./final-message-stream.ts";

export interface UpgradeSpliceOptions {
  /** How the caller is told why the stream ends; undefined where that is not possible. */
  readonly finalMessage: FinalMessage | undefined;
  /** The caller is gone. */
  readonly gone: AbortSignal;
  /** Time or an administrator ends the stream; the reason is an error. */
  readonly ended: AbortSignal;
  /** Counts bytes towards the caller. */
  readonly onBytes: (count: number) => void;
}

/**
 * Takes the caller's bytes to the apiserver.
 *
 * After the apiserver's end they are dropped. Node closes a socket whose other side has ended. The kernel resets it
 * when bytes are sent nevertheless. Neither may cost the caller the bytes still on the way to them.
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
 * @param upstreamHead Bytes that the apiserver sent behind its 101.
 * @throws the first failure, or the signal's reason.
 */
export async function spliceUpgrade(
  client: Duplex,
  socket: Duplex,
  upstreamHead: Buffer,
  options: UpgradeSpliceOptions,
  deps: { readonly clock: Pick<Clock, "setTimer"> },
): Promise<void> {
  const { gone, ended } = options;
  const stop = new AbortController();
  const messages = options.finalMessage && createFinalMessageStream(options.finalMessage, options.onBytes);
  let timer: Timer | undefined;
  const later = (ms: number, then: () => void): void => {
    timer?.cancel();
    timer = deps.clock.setTimer(ms, then);
  };
  const onGone = (): void => stop.abort(gone.reason);
  const onEnded = (): void => {
    const end = (): void => stop.abort(ended.reason);
    if (messages === undefined) {
      end();
    } else {
      later(END_FLUSH_MS, end);
      client.once("finish", end);
      messages.end(ended.reason);
    }
  };
  // Two directions put more than ten listeners on each; their number does not grow.
  setMaxListeners(20, client, socket);
  if (upstreamHead.length > 0) socket.unshift(upstreamHead);
  if (messages === undefined) socket.on("data", (bytes: Buffer) => options.onBytes(bytes.length));
  const { signal } = stop;
  let answered = false;
  const up = pipeline(client, towardsUpstream(socket), { signal })
    .then(() => later(HALF_OPEN_MS, () => socket.destroy()))
    .catch((error: unknown) => {
      if (!answered) throw error;
    });
  const towardsCaller = messages === undefined ? [socket, client] : [socket, messages.stream, client];
  const down = pipeline(towardsCaller, { signal }).then(() => {
    answered = true;
    later(CLOSE_TIMEOUT_MS, () => client.destroy());
  });
  const watched = [up, down];
  const leaves = [onAbort(gone, onGone), onAbort(ended, onEnded)];
  try {
    await Promise.all(watched);
  } finally {
    socket.destroy();
    client.destroy();
    await Promise.allSettled(watched);
    timer?.cancel();
    for (const leave of leaves) leave();
  }
}
