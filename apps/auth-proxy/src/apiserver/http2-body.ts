import type { Http2Stream } from "node:http2";

/** The body that came on a stream, from the other side. */
export interface Http2Body {
  /** Whether the other side has ended its body by itself. */
  readonly complete: () => boolean;
  readonly bytes: () => number;
}

/**
 * Watches a stream's body; to be called before anything of it is read.
 *
 * Node ends a stream's readable side alike when the body is over, when the other side has reset the stream with NO_ERROR
 * or CANCEL, and when the connection is gone. A body that is cut must never look complete.
 */
export function watchBody(stream: Http2Stream): Http2Body {
  // A short body comes in one packet with its head, and is there before anybody hears of the stream.
  let complete = stream.endAfterHeaders || (!stream.closed && stream.state.remoteClose === 1);
  let ended = complete;
  let bytes = 0;
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk instanceof Uint8Array) bytes += chunk.length;
    else if (!ended) {
      ended = true;
      complete = !stream.closed;
    }
    return push(chunk, encoding);
  };
  return { complete: () => complete, bytes: () => bytes };
}
