/** A hostile dialer in a process: does what its settings say, logs what came of it, and holds it until SIGTERM. */
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { z } from "zod";
import { pingBeforeHello, pipelineGets, redialGets, sendSlowHeads } from "./before-proof.ts";
import { floodHeaders, floodPings, resetStreams, sendSmallFrames } from "./floods.ts";
import { holdHalfOpen } from "./half-open.ts";

const COUNT = z.int().min(1).max(1_000_000_000);
const BY_TOKEN = { count: COUNT, token: z.string() };
const SETTINGS = z.strictObject({
  relay: z.url(),
  caFile: z.string(),
  attack: z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.enum(["silent", "half-hello", "half-request", "upgraded"]),
      count: COUNT,
      addresses: z.array(z.ipv4()).min(1),
    }),
    z.strictObject({ kind: z.literal("small-frames"), ...BY_TOKEN, cluster: z.string() }),
    z.strictObject({ kind: z.literal("resets"), ...BY_TOKEN, cluster: z.string() }),
    z.strictObject({ kind: z.literal("pings"), ...BY_TOKEN }),
    z.strictObject({ kind: z.literal("headers"), count: COUNT, lines: COUNT, bytes: COUNT }),
    z.strictObject({ kind: z.literal("pipelined"), count: COUNT, bytes: COUNT, path: z.string() }),
    z.strictObject({ kind: z.literal("redialled"), count: COUNT, bytes: COUNT, path: z.string(), rounds: COUNT }),
    z.strictObject({ kind: z.literal("slow-heads"), count: COUNT, seconds: COUNT }),
    z.strictObject({ kind: z.literal("pings-before-hello"), bytes: COUNT }),
  ]),
});

const { relay, caFile, attack } = SETTINGS.parse(parse(await readFile(process.argv.at(-1) ?? "", "utf8")));
const target = { url: new URL(relay), ca: await readFile(caFile, "utf8") };
process.once("SIGTERM", () => process.exit(0));
console.log(JSON.stringify({ event: "attack.ready" }));
console.log(JSON.stringify({ event: "attack.done", ...(await run()) }));
setInterval(() => undefined, 60_000);

function run(): Promise<Readonly<Record<string, unknown>>> {
  switch (attack.kind) {
    case "silent":
    case "half-hello":
    case "half-request":
    case "upgraded":
      return holdHalfOpen(attack, target);
    case "small-frames":
      return sendSmallFrames(attack, target);
    case "resets":
      return resetStreams(attack, target);
    case "pings":
      return floodPings(attack, target);
    case "headers":
      return floodHeaders(attack, target);
    case "pipelined":
      return pipelineGets(attack, target);
    case "redialled":
      return redialGets(attack, target);
    case "slow-heads":
      return sendSlowHeads(attack, target);
    case "pings-before-hello":
      return pingBeforeHello(attack, target);
  }
}
