import { ConnectError, type ErrorCode, parseInstanceId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { callerName } from "../../src/resume/same-caller.ts";
import { createResumeRegistry } from "../../src/resume/taker.ts";
import type { IncomingStream } from "../../src/stream/incoming.ts";
import type { MuxStream, StreamKeeper } from "../../src/stream/mux-stream.ts";
import { createCountingSecrets, createFakeClock, TEST_OPEN } from "../../src/testing/index.ts";

const AGENT = parseInstanceId("agent-01");
const key = createCountingSecrets(1)();
const OPEN = { ...TEST_OPEN, key, graceMs: 5_000 };
const LOST = new ConnectError("CC_CHANNEL_LOST", "The channel broke");

/** A registry whose streams and sessions are fake: what happens to them is written down with the time. */
function stage() {
  const clock = createFakeClock();
  const happened: string[] = [];
  const note = (what: string): void => void happened.push(`${clock.monotonicNow()} ${what}`);
  const registry = createResumeRegistry({}, { clock });
  const endpoint = {
    state: "open",
    retainedBytes: 0,
    unreadBytes: 0,
    checkResume: (): void => undefined,
    detach: (code: ErrorCode) => note(`detached ${code}`),
    resumed: () => note("resumed"),
  };
  const stream = { endpoint, destroyed: false, keeper: undefined as StreamKeeper | undefined, reset: note };
  const answer = (request: object, { gaveUp = false, graceMs }: { gaveUp?: boolean; graceMs?: number } = {}) => {
    const incoming = {
      request,
      gaveUp,
      accept: () => stream as unknown as MuxStream,
      reject: (code: ErrorCode) => note(`refused ${code}`),
      fail: ({ code }: ConnectError) => note(`failed ${code}`),
      adopt: () => ({ host: { send: () => undefined }, streamId: 1 }),
    };
    const options = { instanceId: AGENT, ...(graceMs === undefined ? {} : { graceMs }) };
    return registry.answer(incoming as unknown as IncomingStream, options);
  };
  const open = (graceMs?: number, wanted = OPEN.graceMs) =>
    answer({ kind: "open", open: { ...OPEN, graceMs: wanted } }, graceMs === undefined ? {} : { graceMs });
  const resume = (attempt: number, given: { gaveUp?: boolean } = {}) =>
    answer({ kind: "resume", resume: { key, cluster: OPEN.cluster, instanceId: AGENT, attempt } }, given);
  return { clock, happened, registry, endpoint, stream, answer, open, resume };
}

test.each([
  ["the taker's", 3_000, 5_000, 3_000],
  ["the opener's", 5_000, 3_000, 3_000],
  ["a millisecond", 5_000, 1, 1],
])("a stream waits for as long as both sides say: %s is less", async (_whose, own, wanted, waitMs) => {
  const { clock, happened, stream, open } = stage();
  expect(open(own, wanted)).toBe(stream);
  expect(stream.keeper?.suspended(LOST)).toBe(true);
  await clock.advance(waitMs - 1);
  expect(happened).toEqual([]);
  await clock.advance(1);
  expect(happened).toEqual([`${waitMs} CC_RESUME_EXPIRED`]);
});

test.each([
  ["the taker says no time", undefined, 5_000],
  ["the taker says none", 0, 5_000],
  ["the opener says none", 5_000, 0],
])("a stream is handed out and not kept where %s", (_what, own, wanted) => {
  const { registry, stream, open } = stage();
  expect(open(own, wanted)).toBe(stream);
  expect([stream.keeper, registry.counters.streams]).toEqual([undefined, 0]);
});

test("a stream that its opener gave up meanwhile is handed out and not kept", () => {
  const { registry, stream, open } = stage();
  stream.destroyed = true;
  expect(open(5_000)).toBe(stream);
  expect([stream.keeper, registry.counters.streams]).toEqual([undefined, 0]);
});

test("a RESUME whose sender gave up changes nothing: the same attempt counts when it comes again", () => {
  const { happened, open, resume } = stage();
  open(5_000);
  expect(resume(1, { gaveUp: true })).toBeUndefined();
  expect(happened).toEqual([]);
  expect(resume(1)).toBeUndefined();
  expect(happened).toEqual(["0 detached CC_SUPERSEDED", "0 resumed"]);
  resume(1);
  expect(happened.at(-1)).toBe("0 refused CC_SUPERSEDED");
});

test("a RESUME from a byte that is not held ends the stream on both sides", () => {
  const { happened, endpoint, open, resume } = stage();
  open(5_000);
  endpoint.checkResume = () => {
    throw new ConnectError("CC_RESUME_GAP", "A gap");
  };
  resume(1);
  expect(happened).toEqual(["0 CC_RESUME_GAP", "0 refused CC_RESUME_GAP"]);
});

test("a stream that ended with a code tells it to who comes later, and only to one that is there", () => {
  const { happened, stream, open, resume } = stage();
  open(5_000);
  const error = new ConnectError("CC_UPSTREAM_UNREACHABLE", "It is away");
  stream.keeper?.ended({ kind: "reset", error, origin: "local" } as never);
  resume(1, { gaveUp: true });
  expect(happened).toEqual([]);
  resume(1);
  expect(happened).toEqual(["0 failed CC_UPSTREAM_UNREACHABLE"]);
});

test("a fault of the program is thrown, and is no refusal", () => {
  const { happened, endpoint, open, resume } = stage();
  open(5_000);
  endpoint.detach = () => {
    throw new TypeError("not a function");
  };
  expect(() => resume(1)).toThrow(TypeError);
  expect(happened).toEqual([]);
});

test("bytes that are kept and bytes that are unread count for the caller", () => {
  const { registry, endpoint, open } = stage();
  open(5_000);
  Object.assign(endpoint, { retainedBytes: 10, unreadBytes: 5 });
  expect([...registry.heldByCaller()]).toEqual([[callerName(OPEN.caller), 15]]);
});
