import { ConnectError, type ErrorCode, parseInstanceId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { CurrentSession } from "../../src/resume/current-session.ts";
import { OpenerStream, type OpenerStreamDeps } from "../../src/resume/opener-stream.ts";
import type { OpenRequest } from "../../src/session/options.ts";
import type { Session } from "../../src/session/session.ts";
import type { MuxStream } from "../../src/stream/mux-stream.ts";
import { createCountingSecrets, createFakeClock, TEST_OPEN } from "../../src/testing/index.ts";

const AGENT = parseInstanceId("agent-01");
const BROKEN = new ConnectError("CC_CHANNEL_LOST", "The channel broke");
const OFFLINE = new ConnectError("CC_AGENT_OFFLINE", "The agent is not there");
const REQUEST = { ...TEST_OPEN, graceMs: 60_000 };

interface Stage extends Partial<OpenerStreamDeps> {
  readonly isAnswered?: boolean;
  readonly answerGraceMs?: number;
  readonly reopen?: boolean;
  readonly request?: OpenRequest;
  /** Thrown by a session that takes no stream any more. */
  readonly refusal?: unknown;
}

interface Member {
  readonly kind: string;
  readonly resume?: { readonly attempt: number };
  readonly open?: object;
}

/** A stream that is fake, as its sessions are: what happens to it is written down with the time. */
function stage({
  isAnswered = true,
  answerGraceMs = 60_000,
  reopen = false,
  request = REQUEST,
  refusal,
  ...given
}: Stage = {}) {
  const clock = createFakeClock();
  const happened: string[] = [];
  const sent: unknown[] = [];
  const note = (what: string): void => void happened.push(`${clock.monotonicNow()} ${what}`);
  const sessions = new CurrentSession();
  const sessionOf = (name: string): Session => {
    const session = {
      state: "ready",
      fillOpen: (open: object) => open,
      addMember: (_endpoint: unknown, { kind, resume, open }: Member) => {
        if (refusal !== undefined) throw refusal;
        sent.push(resume ?? open);
        note(resume === undefined ? `${kind} in ${name}` : `${kind} ${resume.attempt} in ${name}`);
        return { host: undefined, streamId: 1 };
      },
    };
    return session as unknown as Session;
  };
  const endpoint = {
    state: "open",
    suspended: false,
    over: false,
    windowBytes: 65_536,
    conclude: () => note("conclude"),
    lost: ({ code }: ConnectError) => note(`lost ${code}`),
    detach: () => {},
    beginResume: () => ({}),
    joinResuming: () => {
      endpoint.suspended = false;
    },
    reopen: () => {
      endpoint.suspended = false;
    },
  };
  const stream = {
    endpoint,
    answer: isAnswered ? { instanceId: AGENT, graceMs: answerGraceMs } : undefined,
    reset: (code: ErrorCode) => note(code),
  } as unknown as MuxStream;
  const deps: OpenerStreamDeps = {
    graceMs: 60_000,
    pendingGraceMs: 5_000,
    pendingMs: Number.POSITIVE_INFINITY,
    clock,
    random: () => 0.5,
    secret: createCountingSecrets(1),
    sessions,
    onMissing: () => note("missing"),
    onResumed: (_stream, afterMs) => note(`resumed after ${afterMs}`),
    onEnded: () => note("ended"),
    ...given,
  };
  const first = sessionOf("first");
  const key = deps.secret();
  const opened = new OpenerStream(stream, first, { request, key, reopen }, deps);
  const lose = (error: ConnectError): boolean => {
    endpoint.suspended = true;
    return opened.suspended(error);
  };
  return { clock, happened, sent, sessions, sessionOf, first, endpoint, opened, lose };
}

test("a lost stream goes on at once in the session that stands, and says how long it was without one", async () => {
  const { clock, happened, sessions, sessionOf, opened, lose } = stage();
  await clock.advance(1_000);
  expect(lose(BROKEN)).toBe(true);
  sessions.use(sessionOf("second"));
  await clock.advance(0);
  await clock.advance(250);
  opened.answered();
  opened.answered();
  expect(happened).toEqual(["1000 resume 1 in second", "1250 resumed after 250"]);
  expect(clock.pendingTimers).toBe(0);
});

test("the first waits are half of 200, 400, 800 and 1,600 ms, then of 2 s", async () => {
  const { clock, happened, sessions, sessionOf, lose } = stage();
  sessions.use(sessionOf("second"));
  lose(OFFLINE);
  for (let times = 0; times < 6; times += 1) {
    const before = happened.length;
    for (let ms = 0; ms < 3_000 && happened.length === before; ms += 1) await clock.advance(1);
    lose(OFFLINE);
  }
  expect(happened).toEqual([
    "0 missing",
    "100 resume 1 in second",
    "300 resume 2 in second",
    "700 resume 3 in second",
    "1500 resume 4 in second",
    "2500 resume 5 in second",
    "3500 resume 6 in second",
  ]);
});

test("an agent that is missing is said once for each loss", async () => {
  const { clock, happened, opened, lose } = stage();
  lose(OFFLINE);
  lose(OFFLINE);
  opened.answered();
  await clock.advance(5_000);
  lose(BROKEN);
  lose(OFFLINE);
  expect(happened).toEqual(["0 missing", "0 resumed after 0", "5000 missing"]);
});

test.each([
  [1_999, "100"],
  [2_000, "0"],
])("a stream that stayed %i ms where it was moved to is moved again after %s ms", async (stayedMs, afterMs) => {
  const { clock, happened, sessions, sessionOf, opened, lose } = stage();
  sessions.use(sessionOf("second"));
  await clock.advance(10_000);
  lose(BROKEN);
  await clock.advance(0);
  opened.answered();
  await clock.advance(stayedMs);
  lose(BROKEN);
  await clock.advance(1_000);
  expect(happened.at(-1)).toBe(`${10_000 + stayedMs + Number(afterMs)} resume 2 in second`);
});

test("the answer's grace time counts, to the millisecond, from the first loss", async () => {
  const { clock, happened, lose } = stage({ answerGraceMs: 7_000 });
  lose(BROKEN);
  await clock.advance(3_000);
  lose(OFFLINE);
  await clock.advance(3_999);
  expect(happened).toEqual(["3000 missing"]);
  await clock.advance(1);
  expect(happened).toEqual(["3000 missing", "7000 CC_RESUME_EXPIRED"]);
});

test("a stream that ended leaves no timer behind, and is told to be over once", async () => {
  const { clock, happened, opened, lose } = stage({ isAnswered: false, reopen: true });
  lose(BROKEN);
  expect(clock.pendingTimers).toBe(3);
  opened.ended();
  expect([clock.pendingTimers, happened]).toEqual([0, ["0 ended"]]);
});

test("a session that a stream is in already does not move it; another one, or a loss, does", () => {
  const { happened, sessionOf, first, endpoint, opened } = stage();
  opened.follow(first);
  expect(happened).toEqual([]);
  opened.follow(sessionOf("second"));
  endpoint.suspended = true;
  opened.follow(first);
  expect(happened).toEqual(["0 resume 1 in second", "0 resume 2 in first"]);
});

test("a stream that ended at the other side is concluded where its own side is over, and goes on nowhere", () => {
  const finished = new ConnectError("CC_STREAM_FINISHED", "It has ended");
  const { clock, happened, endpoint, lose } = stage();
  expect(lose(finished)).toBe(false);
  endpoint.over = true;
  expect(lose(finished)).toBe(true);
  expect([happened, clock.pendingTimers]).toEqual([["0 conclude"], 0]);
});

test.each<readonly [string, Stage, ConnectError, boolean]>([
  ["an answered one without grace time", { answerGraceMs: 0 }, BROKEN, false],
  ["an answered one that was refused for good", {}, new ConnectError("CC_GRANT_MISSING", "No"), false],
  ["an answered one whose agent may come back", {}, OFFLINE, true],
  ["one without an answer that may not be said twice", { isAnswered: false }, BROKEN, false],
  ["one without an answer that may", { isAnswered: false, reopen: true }, BROKEN, true],
  ["one that no peer has passed on", { isAnswered: false }, new ConnectError("CC_DRAINING", "It stops"), true],
  ["one without time to wait", { isAnswered: false, reopen: true, pendingGraceMs: 0 }, BROKEN, false],
  ["one with a millisecond to wait", { isAnswered: false, reopen: true, pendingGraceMs: 1 }, BROKEN, true],
  ["one whose session must not be followed by another", {}, new ConnectError("CC_AGENT_REPLACED", "Another"), false],
])("%s: whether it is kept", (_what, given, error, isKept) => {
  expect(stage(given).lose(error)).toBe(isKept);
});

test.each([
  ["the time for those without an answer", { pendingGraceMs: 5_000 }, 5_000],
  ["what is left since it was opened", { pendingMs: 4_000 }, 3_000],
  ["a moment to dial, where nothing is left", { pendingMs: 1_000 }, 1_100 - 1_000],
])("a stream without an answer waits %s", async (_what, given, waitMs) => {
  const { clock, happened, lose } = stage({ isAnswered: false, reopen: true, ...given });
  await clock.advance(1_000);
  lose(BROKEN);
  await clock.advance(waitMs - 1);
  expect(happened).toEqual([]);
  await clock.advance(1);
  expect(happened).toEqual([`${1_000 + waitMs} CC_CHANNEL_LOST`]);
});

test("a stream without an answer is opened again, and waits for its answer without an end", async () => {
  const { clock, happened, sessions, sessionOf, lose } = stage({ isAnswered: false, reopen: true });
  sessions.use(sessionOf("second"));
  lose(BROKEN);
  await clock.advance(20_000);
  expect(happened).toEqual(["0 open in second"]);
});

test("nothing is kept once the opener stops", () => {
  const { sessions, lose } = stage();
  sessions.close();
  expect(lose(BROKEN)).toBe(false);
});

test("the waits begin anew with a loss after a stay, and only then", async () => {
  const { clock, happened, sessions, sessionOf, opened, lose } = stage();
  sessions.use(sessionOf("second"));
  const fail = async (times: number): Promise<void> => {
    for (let time = 0; time < times; time += 1) {
      lose(OFFLINE);
      await clock.advance(1_000);
    }
  };
  await fail(4);
  opened.answered();
  await clock.advance(6_000);
  happened.length = 0;
  await fail(2);
  expect(happened).toEqual(["10000 missing", "10100 resume 5 in second", "11200 resume 6 in second"]);
  opened.answered();
  lose(OFFLINE);
  await clock.advance(400);
  expect(happened.at(-1)).toBe("12400 resume 7 in second");
});

test("a stream that is moved makes no attempt of its own any more, nor does one that is answered", async () => {
  const { clock, happened, sessions, sessionOf, endpoint, opened, lose } = stage();
  lose(OFFLINE);
  const second = sessionOf("second");
  sessions.use(second);
  opened.follow(second);
  opened.follow(second);
  await clock.advance(10_000);
  lose(OFFLINE);
  endpoint.suspended = false;
  opened.answered();
  await clock.advance(10_000);
  expect(happened.filter((line) => line.includes("resume "))).toEqual(["0 resume 1 in second"]);
});

test("a later failure counts, not the one before", async () => {
  const { clock, happened, sessions, sessionOf, lose } = stage();
  sessions.use(sessionOf("second"));
  lose(OFFLINE);
  lose(OFFLINE);
  await clock.advance(199);
  expect(happened).toEqual(["0 missing"]);
  await clock.advance(1);
  expect(happened).toEqual(["0 missing", "200 resume 1 in second"]);
});

test("a stream that has ended is moved nowhere", () => {
  const { happened, sessionOf, endpoint, opened } = stage();
  endpoint.state = "closed";
  opened.follow(sessionOf("second"));
  expect(happened).toEqual([]);
});

test.each([
  [0, []],
  [1, ["0 resume 1 in second"]],
])("a stream that was answered with %i ms of grace time: whether it is moved", (answerGraceMs, expected) => {
  const { happened, sessionOf, opened } = stage({ answerGraceMs });
  opened.follow(sessionOf("second"));
  expect(happened).toEqual(expected);
});

test("a stream that is moved without a loss has its grace time, too", async () => {
  const { clock, happened, sessionOf, opened } = stage({ answerGraceMs: 7_000 });
  opened.follow(sessionOf("second"));
  await clock.advance(7_000);
  expect(happened).toEqual(["0 resume 1 in second", "7000 CC_RESUME_EXPIRED"]);
});

test.each([
  [new ConnectError("CC_LIMIT_REACHED", "Too many"), "0 lost CC_LIMIT_REACHED"],
  [new TypeError("not a function"), "0 lost CC_INTERNAL"],
])("a session that throws loses the stream with its reason: %s", (refusal, expected) => {
  const { happened, sessionOf, opened } = stage({ refusal });
  opened.follow(sessionOf("second"));
  expect(happened).toEqual([expected]);
});

test("what resumes a stream names what opened it, and no more", () => {
  const caller = { issuer: "https://issuer.test", subject: "ann", username: "ann" };
  const plain = stage();
  plain.opened.follow(plain.sessionOf("second"));
  const { cluster } = REQUEST;
  const [key] = [createCountingSecrets(1)()];
  expect(plain.sent).toStrictEqual([{ cluster, viaPeer: false, instanceId: AGENT, key, attempt: 1 }]);
  const full = stage({ request: { ...REQUEST, caller, upstream: "grafana", viaPeer: true } });
  full.opened.follow(full.sessionOf("second"));
  const more = { viaPeer: true, caller, upstream: "grafana" };
  expect(full.sent).toStrictEqual([{ cluster, instanceId: AGENT, key, attempt: 1, ...more }]);
});

test("a stream that is opened again has a key of its own", () => {
  const { sent, sessionOf, endpoint, opened } = stage({ isAnswered: false });
  endpoint.suspended = true;
  opened.follow(sessionOf("second"));
  const secrets = createCountingSecrets(1);
  secrets();
  expect(sent).toMatchObject([{ key: secrets() }]);
});
