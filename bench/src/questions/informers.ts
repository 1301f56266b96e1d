import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import type { Question, Sample } from "../measure.ts";

const MAIN = resolve(import.meta.dirname, "../../../e2e/src/informers/main.ts");
const COUNTS = [100, 300] as const;
const HOPS = ["CLI", "agent", "auth proxy"] as const;
const DIRECT = "direct";
/** Ways by their name in the table, and in the program that measures. */
const WAYS = [
  ["connect, HTTP/2", "http2"],
  ["connect, HTTP/1.1", "http1"],
  [DIRECT, "direct"],
] as const;

const SAMPLE = z.record(z.string(), z.number());

/**
 * How long 100 and 300 informers of client-go take to sync, each a list and a watch, and what they cost each hop. It has
 * real control planes and whole chains, beside those of the other questions.
 */
export async function informers(): Promise<Question> {
  const ask = await startProgram();
  return {
    name: "informers",
    warmUp: true,
    units: Object.fromEntries(
      COUNTS.flatMap((count) => [
        [`${count} synced`, "ms"],
        ...HOPS.flatMap((hop) => [
          [`${count}: ${hop} sockets`, ""],
          [`${count}: ${hop} memory`, "MiB"],
        ]),
      ]),
    ),
    // Without Go, or Kubernetes, it has no rows; the program has said why.
    subjects: ask === undefined ? [] : WAYS.map(([name, way]) => ({ name, run: () => run(way, ask) })),
    targets: COUNTS.map((count) => ({ metric: `${count} synced`, against: DIRECT, atMost: 1.5 })),
  };
}

type Ask = (line: string) => Promise<Sample>;

async function run(way: string, ask: Ask): Promise<Sample> {
  const found: Record<string, number> = {};
  for (const count of COUNTS) {
    const { time = Number.NaN, ...costs } = await ask(`${way} ${count}`);
    found[`${count} synced`] = time;
    for (const [name, value] of Object.entries(costs)) found[`${count}: ${name}`] = value;
  }
  return found;
}

/** It ends with its input, and so with this process. */
async function startProgram(): Promise<Ask | undefined> {
  const program = spawn(process.execPath, ["--conditions=source", MAIN], { stdio: ["pipe", "pipe", "inherit"] });
  program.stdin.on("error", () => {}); // its end says it
  const ended = once(program, "exit").then(() => Promise.reject(new Error("the program that measures has ended")));
  ended.catch(() => {}); // heard by those that ask
  const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => (await Promise.race([lines.next(), ended])).value ?? "";
  if ((await next().catch(() => "")) !== "ready") return undefined;
  return async (line) => {
    program.stdin.write(`${line}\n`);
    return SAMPLE.parse(JSON.parse(await next()));
  };
}
