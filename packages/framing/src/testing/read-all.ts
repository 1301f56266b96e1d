import type { Readable } from "node:stream";

/**
 * Everything a stream gives until its end. Unlike `node:stream/consumers` it leaves the writing side alone.
 *
 * @throws the stream's error.
 */
export function readAll(stream: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.once("end", () => resolve(Buffer.concat(chunks)));
    stream.on("error", reject);
    stream.once("close", () => reject(stream.errored ?? new Error("closed before its end")));
  });
}
