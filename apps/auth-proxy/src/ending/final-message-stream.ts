import { Transform } from "node:stream";
import type { FinalMessage } from "./final-message.ts";

/** The way from the apiserver to the caller, which can be ended with a word of ours. */
export interface FinalMessageStream {
  readonly stream: Transform;
  /** Ends the way at the next boundary between messages, with the reason. Later bytes are dropped. */
  end(reason: unknown): void;
}

/** @param onBytes Counts the bytes that come from the apiserver. */
export function createFinalMessageStream(
  finalMessage: FinalMessage,
  onBytes: (count: number) => void,
): FinalMessageStream {
  const { tracker } = finalMessage;
  let word: Buffer | undefined;
  let said = false;
  const say = (): void => {
    said = true;
    stream.push(word);
    stream.push(null);
  };
  const stream = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      onBytes(chunk.length);
      if (said) return done();
      const passed = tracker.push(chunk, { toBoundary: word !== undefined });
      if (passed > 0) stream.push(chunk.subarray(0, passed));
      if (word !== undefined && tracker.atBoundary()) say();
      done();
    },
    flush: (done) => {
      // The apiserver's own end came first.
      said = true;
      done();
    },
  });
  return {
    stream,
    end: (reason) => {
      if (said || word !== undefined) return;
      word = finalMessage.frame(reason);
      if (tracker.atBoundary()) say();
    },
  };
}
