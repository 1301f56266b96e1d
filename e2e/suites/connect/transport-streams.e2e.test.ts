import { randomBytes, randomInt } from "node:crypto";
import { buffer } from "node:stream/consumers";
import type { MuxStream } from "@cluster-connect/framing";
import { SESSION_BUDGET_BYTES } from "@cluster-connect/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { patternBytes } from "../../src/faults/pattern.ts";
import type { RawLink } from "../../src/faults/raw-link.ts";
import { startTransfer } from "../../src/faults/transfer.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { answers, atBaseline, ECHO, finish, SOURCE, useTransport } from "../support/transport.ts";

const transport = useTransport();
const { signal } = new AbortController();
let link: RawLink;

beforeAll(() => {
  link = transport().link();
});
afterAll(() => link?.close());

const KIB = 1_024;
const MIB = 1_048_576;
const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** Does something so many times, a few at a time. */
async function times(count: number, atOnce: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

const CLOSES = 10_000;
const AT_ONCE = 32;
const MAX_CLOSE_BYTES = 48 * KIB;

test("the caller writes and closes at once, 10,000 times: every byte is answered", async () => {
  const from = performance.now();
  await times(CLOSES, AT_ONCE, async () => {
    const said = patternBytes(randomInt(1, MAX_CLOSE_BYTES));
    const stream = await link.open(ECHO, { signal });
    stream.end(said);
    const heard = await buffer(stream);
    if (!heard.equals(said)) expect(heard.length).toBe(said.length);
    expect(await stream.done).toEqual({ kind: "finished" });
  });
  say(`${CLOSES} streams written and closed by the caller in ${Math.round(performance.now() - from)} ms`);
});

test("the upstream writes and closes at once, 10,000 times: every byte arrives", async () => {
  const from = performance.now();
  await times(CLOSES, AT_ONCE, async () => {
    const count = randomInt(1, MAX_CLOSE_BYTES);
    const ask = Buffer.alloc(4);
    ask.writeUInt32BE(count);
    const stream = await link.open(SOURCE, { signal });
    stream.write(ask);
    const heard = await buffer(stream);
    if (!heard.equals(patternBytes(count))) expect(heard.length).toBe(count);
    stream.end();
    await stream.done;
  });
  say(`${CLOSES} streams written and closed by the upstream in ${Math.round(performance.now() - from)} ms`);
});

test("what was written before the end of the input comes back after it", async () => {
  const stream = await link.open(ECHO, { signal });
  const { done } = startTransfer(stream, 8 * MIB, { now: () => performance.now() });
  const end = await done;
  expect(end.receivedBytes).toBe(8 * MIB);
  expect(end.receivedSha256).toBe(end.sentSha256);
});

const ACTIVE = 100;
const ACTIVE_BYTES = MIB;
const STUCK_BYTES = 48 * MIB;
const ROUNDS = 5;
/** Far above what is measured, about 1: a machine with other work to do is no failure. */
const MAX_SLOWDOWN = 2;
const RSS = "process_resident_memory_bytes";

const median = (numbers: readonly number[]): number =>
  Math.round(numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0);

async function active(): Promise<number> {
  const from = performance.now();
  await times(ACTIVE, ACTIVE, async () => {
    const stream = await link.open(ECHO, { signal });
    const end = await startTransfer(stream, ACTIVE_BYTES, { now: () => performance.now() }).done;
    expect(end.receivedSha256).toBe(end.sentSha256);
  });
  return performance.now() - from;
}

/** A stream whose reader never reads, with more written to it than all windows and buffers on the way take. */
async function openStuck(): Promise<MuxStream> {
  const stuck = await link.open(ECHO, { signal });
  stuck.pause();
  const block = randomBytes(64 * KIB);
  while (stuck.writableLength <= STUCK_BYTES) stuck.write(Buffer.from(block));
  return stuck;
}

test("100 streams keep their rate beside one whose reader never reads, and the relay stays within its budget", async () => {
  await active(); // so that what is allocated once is there
  const before = (await transport().relayMetrics()).get(RSS) ?? 0;
  const aloneMs: number[] = [];
  const besideMs: number[] = [];
  // In turns, so that what else the machine does falls on both.
  for (let round = 0; round < ROUNDS; round += 1) {
    aloneMs.push(await active());
    const stuck = await openStuck();
    besideMs.push(await active());
    stuck.destroy();
  }
  const growth = ((await transport().relayMetrics()).get(RSS) ?? 0) - before;
  const [alone, beside] = [median(aloneMs), median(besideMs)];
  say(
    `${ACTIVE} streams, ${ACTIVE_BYTES / MIB} MiB each: ${alone} ms alone, ${beside} ms beside a reader that never reads`,
  );
  say(`the relay grew by ${(growth / MIB).toFixed(1)} MiB`);
  expect(growth).toBeLessThan(SESSION_BUDGET_BYTES);
  expect(beside).toBeLessThan(MAX_SLOWDOWN * alone);
  const next = await link.open(ECHO, { signal });
  await answers(next, randomBytes(1_000));
  await finish(next);
});

test("every counter is back at nothing afterwards, and the session is gone when the caller closes it", async () => {
  await atBaseline(transport());
  expect(link.counters).toEqual({ streams: 0, suspended: 0, retainedBytes: 0 });
  const sessions = async (): Promise<number | undefined> => (await transport().relayMetrics()).get("cli_sessions");
  expect(await sessions()).toBe(1);
  await link.close();
  await pollUntil(async () => ((await sessions()) === 0 ? true : undefined), { signal: AbortSignal.timeout(60_000) });
});
