import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { ORDINARY_HEAD_BYTES } from "../limits/limits.ts";

/** Follows how long the heads of a stream's requests get while they come in. */
export interface HeadWatch {
  /** To be called for each request that was parsed. @returns gives the place of its head back. */
  parsed(request: IncomingMessage): () => void;
  /** Takes no more note of the stream's bytes: they belong to an upgrade, or no parser reads them. */
  end(): void;
}

/**
 * Watches a stream that has its parser already: its listener has to come behind the parser's own.
 *
 * @param take is called for a head that gets long. It gives the place back, or undefined when there is none left and the
 *   stream is refused.
 */
export function watchHeads(stream: Duplex, take: () => (() => void) | undefined): HeadWatch {
  let last: IncomingMessage | undefined;
  let bytes = 0;
  let leave: (() => void) | undefined;
  const onData = (chunk: Buffer): void => {
    const inHead = last === undefined || last.complete;
    bytes = inHead ? bytes + chunk.length : 0;
    if (bytes <= ORDINARY_HEAD_BYTES || leave !== undefined) return;
    leave = take();
    if (leave === undefined) stream.off("data", onData);
  };
  stream.on("data", onData);
  stream.once("close", () => leave?.());
  return {
    parsed(request) {
      const given = leave;
      last = request;
      bytes = 0;
      leave = undefined;
      return () => given?.();
    },
    end: () => void stream.off("data", onData),
  };
}
