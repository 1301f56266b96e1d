import type { Duplex } from "node:stream";
import { type Measured, measure, type Subject } from "./measure.ts";
import { type Pair, streamPair, tcpPair } from "./pair.ts";

const TOTAL_BYTES = 256 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;

/** How fast one stream carries bulk, against one TCP connection; MiB a second, both ends in this process. */
export async function bulk(): Promise<Measured> {
  return await measure("bulk, one stream", "MiB/s", [subject("tcp", tcpPair), subject("stream", streamPair)]);
}

function subject(name: string, pair: () => Promise<Pair>): Subject {
  return {
    name,
    async run() {
      const { near, far, close } = await pair();
      const startedAt = performance.now();
      const received = count(far);
      await send(near);
      const bytes = await received;
      const seconds = (performance.now() - startedAt) / 1000;
      await close();
      if (bytes !== TOTAL_BYTES) throw new Error(`${name} lost bytes: ${bytes} of ${TOTAL_BYTES} came`);
      return bytes / 1024 / 1024 / seconds;
    },
  };
}

async function send(stream: Duplex): Promise<void> {
  for (let sent = 0; sent < TOTAL_BYTES; sent += CHUNK_BYTES) {
    // A chunk belongs to the stream once it is written, so each is its own.
    if (!stream.write(Buffer.alloc(CHUNK_BYTES, sent / CHUNK_BYTES))) {
      await new Promise((resolve) => stream.once("drain", resolve));
    }
  }
  stream.end();
}

async function count(stream: Duplex): Promise<number> {
  let bytes = 0;
  for await (const chunk of stream) bytes += (chunk as Buffer).length;
  return bytes;
}
