import { type Measured, measure, type Subject } from "./measure.ts";
import { type Pair, streamPair, tcpPair } from "./pair.ts";

const ROUND_TRIPS = 5_000;

/** How long one byte takes there and back over a stream, against one TCP connection; median, microseconds. */
export async function roundTrip(): Promise<Measured> {
  return await measure("one byte there and back", "µs", [subject("tcp", tcpPair), subject("stream", streamPair)]);
}

function subject(name: string, pair: () => Promise<Pair>): Subject {
  return {
    name,
    async run() {
      const { near, far, close } = await pair();
      far.on("data", (chunk: Buffer) => far.write(chunk));
      const samples: number[] = [];
      for (let index = 0; index < ROUND_TRIPS; index += 1) {
        const startedAt = performance.now();
        const answer = new Promise((resolve) => near.once("data", resolve));
        near.write(Buffer.from([index & 0xff]));
        await answer;
        samples.push((performance.now() - startedAt) * 1000);
      }
      await close();
      return samples.toSorted((a, b) => a - b)[ROUND_TRIPS / 2] ?? Number.NaN;
    },
  };
}
