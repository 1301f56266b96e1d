import type { Readable } from "node:stream";

const EVENTS = ["readable", "end", "close", "error"] as const;

/**
 * Reads a body to its end, or until it is gone; whether it was whole is to be asked for. Node's own iteration takes a
 * stream of HTTP/2 that both sides have ended for a broken one, although its last bytes are still to be read.
 *
 * @throws the body's own error.
 */
export async function* bodyChunks(body: Readable): AsyncGenerator<Buffer, void, undefined> {
  let wake = (): void => {};
  const onEvent = (): void => wake();
  for (const event of EVENTS) body.on(event, onEvent);
  try {
    for (;;) {
      const chunk: Buffer | null = body.destroyed ? null : body.read();
      if (chunk !== null) yield chunk;
      else if (body.errored !== null) throw body.errored;
      else if (body.readableEnded || body.destroyed) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    for (const event of EVENTS) body.off(event, onEvent);
    if (!body.readableEnded) body.destroy();
  }
}
