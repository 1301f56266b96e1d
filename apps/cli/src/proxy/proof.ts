import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { connect } from "node:net";
import { addAbortSignal } from "node:stream";

/** No TLS record and no HTTP request begins with a zero. */
const MAGIC = Buffer.from("\0cluster-connect proof ");
const NONCE_BYTES = 16;
const QUESTION_BYTES = MAGIC.length + 2 * NONCE_BYTES + 1;
const TIMEOUT_MS = 2_000;

/** The question to the proxy itself in the first bytes of a local connection. */
export type ProofQuestion =
  /** They may still become a question. */
  | { readonly kind: "incomplete" }
  /** They are for a cluster. */
  | { readonly kind: "none" }
  | { readonly kind: "question"; readonly nonce: string };

/** Reads the first bytes of a connection. */
export function readProofQuestion(bytes: Uint8Array): ProofQuestion {
  const start = Buffer.from(bytes.subarray(0, MAGIC.length));
  if (!MAGIC.subarray(0, start.length).equals(start)) return { kind: "none" };
  if (bytes.length < QUESTION_BYTES) return { kind: "incomplete" };
  const nonce = Buffer.from(bytes.subarray(MAGIC.length)).toString("latin1");
  return /^[0-9a-f]{32}\n$/.test(nonce) ? { kind: "question", nonce: nonce.trimEnd() } : { kind: "none" };
}

/** A new secret, which a proxy keeps in its record: readable by this user only. */
export function createProofSecret(): string {
  return randomBytes(32).toString("base64url");
}

/** The answer that only a proxy with this secret can give. */
export function answerProof(secret: string, nonce: string): string {
  return `${createHmac("sha256", secret).update(nonce).digest("hex")}\n`;
}

/**
 * Whether the program that listens on a loopback port is the proxy with this secret. A process number, or a port in a
 * file, proves nothing.
 */
export async function hasProof(
  port: number,
  secret: string,
  options: { readonly signal: AbortSignal },
): Promise<boolean> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const nonce = randomBytes(NONCE_BYTES).toString("hex");
  const socket = addAbortSignal(signal, connect({ host: "127.0.0.1", port }));
  try {
    socket.write(Buffer.concat([MAGIC, Buffer.from(`${nonce}\n`)]));
    const expected = Buffer.from(answerProof(secret, nonce));
    let answer = Buffer.alloc(0);
    for await (const chunk of socket) {
      answer = Buffer.concat([answer, Buffer.from(chunk)]);
      if (answer.length >= expected.length) break;
    }
    return answer.length === expected.length && timingSafeEqual(answer, expected);
  } catch {
    // The port has no listener, or one that does not know the question.
    return false;
  } finally {
    socket.destroy();
  }
}
