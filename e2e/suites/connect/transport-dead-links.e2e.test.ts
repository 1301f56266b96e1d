import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Fault } from "../../src/faults/fault.ts";
import { HALF_OPEN } from "../../src/faults/half-open.ts";
import type { RawLink } from "../../src/faults/raw-link.ts";
import { STALL } from "../../src/faults/stall.ts";
import { startTransfer } from "../../src/faults/transfer.ts";
import type { Program } from "../../src/process/keeper.ts";
import { waitForLogEvent } from "../../src/process/log-events.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { expectWithin } from "../support/reliability/promise.ts";
import { answers, atBaseline, ECHO, finish, useTransport } from "../support/transport.ts";

const transport = useTransport();
const { signal } = new AbortController();
let link: RawLink;

beforeAll(() => {
  link = transport().link();
});
afterAll(() => link?.close());

const TRANSFER_BYTES = 67_108_864;
const NOTICED_WITHIN_MS = 10_000;
const WAIT_MS = 60_000;
const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** When a program logged, after this moment, that a peer had not answered; milliseconds since 1970. */
async function noticedAt(program: Program | undefined, event: string, after: number): Promise<number> {
  if (program === undefined) throw new Error("the program is not running");
  const timeOf = (line: { readonly [name: string]: unknown }): number => Date.parse(String(line["time"]));
  const line = await waitForLogEvent(
    program,
    (one) => one["event"] === event && one["code"] === "CC_KEEPALIVE_TIMEOUT" && timeOf(one) > after,
    { signal: AbortSignal.timeout(WAIT_MS) },
  );
  return timeOf(line);
}

/** The same for the caller's own channel. */
async function lostAt(after: number): Promise<number> {
  const lost = await pollUntil(async () => link.events.find(({ kind, at }) => kind === "lost" && at > after), {
    signal: AbortSignal.timeout(WAIT_MS),
  });
  expect(lost.code).toBe("CC_KEEPALIVE_TIMEOUT");
  return lost.at;
}

interface Middle {
  readonly name: string;
  readonly fault: Fault;
}

const MIDDLES: readonly Middle[] = [
  { name: "takes everything and drops it", fault: HALF_OPEN },
  { name: "forwards nothing any more", fault: STALL },
];

/** Times from the fault to each side's word, with a transfer under way and an idle stream; both go on afterwards. */
async function noticed(
  begin: () => () => void,
  sides: (from: number) => readonly Promise<number>[],
): Promise<readonly number[]> {
  const idle = await link.open(ECHO, { signal });
  await answers(idle, randomBytes(100));
  const stream = await link.open(ECHO, { signal });
  const transfer = startTransfer(stream, TRANSFER_BYTES, { now: () => performance.now() });
  await transfer.reached(TRANSFER_BYTES / 8);
  const from = Date.now();
  const end = begin();
  const at = await Promise.all(sides(from));
  end();
  const { sentSha256, receivedSha256 } = await transfer.done;
  expect(receivedSha256).toBe(sentSha256);
  await answers(idle, randomBytes(100));
  await finish(idle);
  return at.map((moment) => moment - from);
}

test.each(MIDDLES)("caller and relay both notice within 10 s that the middle $name", async ({ name, fault }) => {
  const { callerSide, stack } = transport();
  const [caller = 0, relay = 0] = await noticed(
    () => callerSide.begin(fault),
    (from) => [lostAt(from), noticedAt(stack.relay.program, "session.closed", from)],
  );
  say(`the middle ${name}: the caller noticed after ${caller} ms, the relay after ${relay} ms`);
  await expectWithin(`caller and relay notice: ${name}`, NOTICED_WITHIN_MS, Math.max(caller, relay));
});

test.each(MIDDLES)("agent and relay both notice within 10 s that the middle $name", async ({ name, fault }) => {
  const { agentSide, stack } = transport();
  const [agent = 0, relay = 0] = await noticed(
    () => agentSide.begin(fault),
    (from) => [
      noticedAt(stack.agent.program, "tunnel.closed", from),
      noticedAt(stack.relay.program, "tunnel.closed", from),
    ],
  );
  say(`the middle ${name}: the agent noticed after ${agent} ms, the relay after ${relay} ms`);
  await expectWithin(`agent and relay notice: ${name}`, NOTICED_WITHIN_MS, Math.max(agent, relay));
});

test("every counter is back at nothing afterwards", async () => {
  await atBaseline(transport());
  expect(link.counters).toEqual({ streams: 0, suspended: 0, retainedBytes: 0 });
});
