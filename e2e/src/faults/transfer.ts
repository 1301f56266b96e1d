import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Duplex } from "node:stream";

/** Bytes on their way through an echo and back. */
export interface Transfer {
  /** Resolves when so many bytes are back. */
  reached(bytes: number): Promise<void>;
  /** Resolves when the echo has ended. */
  readonly done: Promise<TransferEnd>;
}

export interface TransferEnd {
  readonly receivedBytes: number;
  readonly sentSha256: string;
  readonly receivedSha256: string;
  readonly ms: number;
  /** The longest time in which nothing came back. */
  readonly longestPauseMs: number;
}

const BLOCK_BYTES = 65_536;

/** Blocks that differ from each other, so that one that is missing or repeated changes the hash. */
function* blocks(bytes: number): Generator<Buffer> {
  const base = randomBytes(BLOCK_BYTES);
  for (let at = 0; at < bytes; at += BLOCK_BYTES) {
    const block = Buffer.from(base.subarray(0, Math.min(BLOCK_BYTES, bytes - at)));
    if (block.length >= 8) block.writeDoubleBE(at, 0);
    yield block;
  }
}

/** Sends so many bytes to an echo, half-closes, and reads until the echo does. */
export function startTransfer(stream: Duplex, bytes: number, deps: { readonly now: () => number }): Transfer {
  const sent = createHash("sha256");
  const received = createHash("sha256");
  const waiting: Array<{ readonly bytes: number; readonly resolve: () => void }> = [];
  const startedAt = deps.now();
  let receivedBytes = 0;
  let lastAt = startedAt;
  let longestPauseMs = 0;

  async function send(): Promise<void> {
    for (const block of blocks(bytes)) {
      sent.update(block);
      if (!stream.write(block) && stream.writableLength > 0) await once(stream, "drain");
    }
    stream.end();
  }

  async function receive(): Promise<void> {
    for await (const chunk of stream) {
      if (!(chunk instanceof Uint8Array)) continue;
      received.update(chunk);
      receivedBytes += chunk.length;
      const now = deps.now();
      longestPauseMs = Math.max(longestPauseMs, now - lastAt);
      lastAt = now;
      while ((waiting[0]?.bytes ?? Number.POSITIVE_INFINITY) <= receivedBytes) waiting.shift()?.resolve();
    }
  }

  const done = Promise.all([send(), receive()]).then(() => ({
    receivedBytes,
    sentSha256: sent.digest("hex"),
    receivedSha256: received.digest("hex"),
    ms: deps.now() - startedAt,
    longestPauseMs,
  }));
  return {
    done,
    reached: async (wanted) => {
      if (receivedBytes >= wanted) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.push({ bytes: wanted, resolve });
      waiting.sort((a, b) => a.bytes - b.bytes);
      await Promise.race([promise, done]);
    },
  };
}
