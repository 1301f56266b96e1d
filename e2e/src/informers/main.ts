/**
 * Measures informers of client-go, for `bench`: `direct`, and through the whole chain over HTTP/1.1 and over HTTP/2.
 * Each line on standard input, such as `http2 100`, is answered with one JSON object of numbers; its end is ours.
 */
import { createInterface } from "node:readline";
import { startWays } from "./ways.ts";

const ways = await startWays(process.env);
process.stdout.write("ready\n");
for await (const line of createInterface({ input: process.stdin })) {
  const [way = "", count = ""] = line.split(" ");
  process.stdout.write(`${JSON.stringify(await ways.measure(way, Number(count)))}\n`);
}
await ways.stop();
