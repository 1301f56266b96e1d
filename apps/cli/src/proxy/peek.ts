import type { Socket } from "node:net";
import { type FirstBytes, MAX_HELLO_BYTES, readFirstBytes } from "./client-hello.ts";
import { readProofQuestion } from "./proof.ts";

/** The first bytes of a local connection. */
export interface Peeked {
  readonly bytes: Buffer;
  readonly first: FirstBytes;
  /** The client seems to speak TLS: it understands a TLS alert. */
  readonly isTls: boolean;
  /** It is no cluster that is asked, but this proxy: whether it is ours. */
  readonly proofNonce: string | undefined;
}

/**
 * Takes the first bytes of a connection and leaves it paused.
 *
 * @param options `whole` waits for the whole ClientHello, else one byte is enough.
 * @returns undefined when the connection ended before it said anything.
 */
export async function peek(
  socket: Socket,
  options: { readonly whole: boolean; readonly signal: AbortSignal },
): Promise<Peeked | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  return await new Promise((resolve, reject) => {
    const finish = (first: FirstBytes | undefined): void => {
      socket.off("data", onData).off("end", onEnd).off("close", onEnd);
      options.signal.removeEventListener("abort", onAbort);
      socket.pause();
      const all = Buffer.concat(chunks);
      const question = readProofQuestion(all);
      const proofNonce = question.kind === "question" ? question.nonce : undefined;
      resolve(first === undefined ? undefined : { bytes: all, first, isTls: all[0] === 22, proofNonce });
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      bytes += chunk.length;
      const all = Buffer.concat(chunks);
      if (readProofQuestion(all).kind === "incomplete") return;
      const first = options.whole ? readFirstBytes(all) : undefined;
      if (first === undefined || first.kind !== "incomplete") finish(first ?? { kind: "incomplete" });
      else if (bytes > 2 * MAX_HELLO_BYTES) finish({ kind: "other" });
    };
    const onEnd = (): void => finish(bytes === 0 ? undefined : { kind: "other" });
    const onAbort = (): void => {
      finish(undefined);
      reject(options.signal.reason);
    };
    if (options.signal.aborted) {
      onAbort();
      return;
    }
    options.signal.addEventListener("abort", onAbort, { once: true });
    socket.on("data", onData).on("end", onEnd).on("close", onEnd).resume();
  });
}
