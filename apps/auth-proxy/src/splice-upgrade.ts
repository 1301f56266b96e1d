import { setMaxListeners } from "node:events";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { END_FLUSH_MS, HALF_OPEN_MS } from "./limits.ts";
import { closeFrame, createFrameTracker } from "./websocket-frames.ts";

export interface SpliceOptions {
  /** Whether the stream carries WebSocket frames, so that the caller can be told why it ends. */
  readonly webSocket: boolean;
  /** The caller is gone. */
  readonly gone: AbortSignal;
  /** Time or an administrator ends the stream; the reason is an error. */
  readonly ended: AbortSignal;
  /** Counts bytes towards the caller. */
  readonly onBytes: (count: number) => void;
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
  const tracker = createFrameTracker();
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const later = (ms: number, then: () => void): void => {
    clearTimeout(timer);
    timer = setTimeout(then, ms);
  };
  const take = (bytes: Buffer): void => {
    options.onBytes(bytes.length);
    if (options.webSocket) tracker.push(bytes);
  };
  const onGone = (): void => stop.abort(gone.reason);
  const onEnded = (): void => {
    const end = (): void => stop.abort(ended.reason);
    const canTell = options.webSocket && tracker.atBoundary() && !client.writableNeedDrain;
    if (canTell) {
      socket.unpipe(client);
      client.unpipe(socket);
      later(END_FLUSH_MS, end);
      client.end(closeFrame(messageOf(ended.reason)), end);
    } else {
      end();
    }
  };
  gone.addEventListener("abort", onGone, { once: true });
  ended.addEventListener("abort", onEnded, { once: true });
  // Two pipelines put more than ten listeners on each; their number does not grow.
  setMaxListeners(20, client, socket);
  take(upstreamHead);
  if (upstreamHead.length > 0) client.write(upstreamHead);
  socket.on("data", take);
  const { signal } = stop;
  const both = [pipeline(client, socket, { signal }), pipeline(socket, client, { signal })];
  const watched = both.map((direction) => direction.then(() => later(HALF_OPEN_MS, () => socket.destroy())));
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

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : "The stream was ended";
}
