import type { Principal } from "@cluster-connect/auth";
import { createTokenBucket } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { LIMIT_SCHEMA } from "../../src/quota/limit-settings.ts";
import { createPacer } from "../../src/quota/pacer.ts";
import { createQuotas } from "../../src/quota/quotas.ts";

const caller = (subject: string, issuer = "https://issuer.test"): Principal => ({
  issuer,
  subject,
  username: subject,
  groups: [],
  extra: {},
  claims: {},
  expiresAt: new Date(0),
});

function stage(limits: Readonly<Record<string, number>>) {
  const time = { now: 0 };
  const quotas = createQuotas(LIMIT_SCHEMA.parse(limits), { now: () => time.now, random: () => 0.99999 });
  return { quotas, time };
}

const refusal = (task: () => unknown): ConnectError => {
  try {
    task();
  } catch (error) {
    if (error instanceof ConnectError) return error;
  }
  throw new Error("not refused");
};

describe("streams", () => {
  test("of a caller, to a cluster and in all have limits of their own", () => {
    const { quotas } = stage({ streamsPerCaller: 2, streamsPerCluster: 3, streams: 4 });
    const [ann, bob, eve] = [caller("ann"), caller("bob"), caller("eve")];
    quotas.takeStream(ann, "one", "open");
    const release = quotas.takeStream(ann, "one", "open");
    expect(refusal(() => quotas.takeStream(ann, "two", "open"))).toMatchObject({
      code: "CC_LIMIT_REACHED",
      retryAfterMs: 1_000,
    });
    quotas.takeStream(bob, "one", "open");
    expect(refusal(() => quotas.takeStream(eve, "one", "open")).message).toContain("to one cluster");
    quotas.takeStream(eve, "two", "open");
    expect(refusal(() => quotas.takeStream(bob, "two", "open")).message).toContain("4 streams");
    release();
    release();
    quotas.takeStream(bob, "two", "open");
    expect(refusal(() => quotas.takeStream(eve, "two", "open")).code).toBe("CC_LIMIT_REACHED");
  });

  test("that are opened too fast wait as long as it says, and other callers do not", () => {
    const { quotas, time } = stage({ opensPerSecondPerCaller: 10 });
    const ann = caller("ann");
    for (let n = 0; n < 20; n += 1) quotas.takeStream(ann, "one", "open");
    const { retryAfterMs = 0 } = refusal(() => quotas.takeStream(ann, "one", "open"));
    expect(retryAfterMs).toBe(100);
    quotas.takeStream(caller("bob"), "one", "open");
    quotas.takeStream(caller("ann", "https://other.test"), "one", "open");
    time.now += retryAfterMs;
    quotas.takeStream(ann, "one", "open");
    expect(refusal(() => quotas.takeStream(ann, "one", "open")).code).toBe("CC_LIMIT_REACHED");
  });

  test("that a caller may have may all come back at once, whatever was opened just before", () => {
    const { quotas } = stage({ opensPerSecondPerCaller: 1, streamsPerCaller: 50 });
    const ann = caller("ann");
    quotas.takeStream(ann, "one", "open")();
    quotas.takeStream(ann, "one", "open")();
    expect(refusal(() => quotas.takeStream(ann, "one", "open")).code).toBe("CC_LIMIT_REACHED");
    for (let n = 0; n < 100; n += 1) quotas.takeStream(ann, "one", "resume")();
    expect(refusal(() => quotas.takeStream(ann, "one", "resume")).code).toBe("CC_LIMIT_REACHED");
  });

  test("that come back leave as many to be opened as before", () => {
    const { quotas } = stage({ opensPerSecondPerCaller: 2, streamsPerCaller: 50 });
    const ann = caller("ann");
    for (let n = 0; n < 100; n += 1) quotas.takeStream(ann, "one", "resume")();
    for (let n = 0; n < 4; n += 1) quotas.takeStream(ann, "one", "open")();
    expect(refusal(() => quotas.takeStream(ann, "one", "open")).code).toBe("CC_LIMIT_REACHED");
  });
});

test("sessions of a caller and in all have limits", () => {
  const { quotas } = stage({ sessionsPerCaller: 1, sessions: 2 });
  const release = quotas.takeSession(caller("ann"));
  expect(refusal(() => quotas.takeSession(caller("ann"))).message).toContain("one caller");
  quotas.takeSession(caller("bob"));
  expect(refusal(() => quotas.takeSession(caller("eve"))).message).toContain("2 sessions");
  release();
  quotas.takeSession(caller("eve"));
});

describe("channels that prove nothing", () => {
  const quiet = (): void => undefined;

  test("are limited by address", () => {
    const { quotas } = stage({ handshakes: 10, handshakesPerAddress: 2 });
    quotas.takeHandshake("10.0.0.1", quiet);
    const release = quotas.takeHandshake("10.0.0.1", quiet);
    expect(refusal(() => quotas.takeHandshake("10.0.0.1", quiet)).message).toContain("one address");
    quotas.takeHandshake("10.0.0.2", quiet);
    release();
    release();
    quotas.takeHandshake("10.0.0.1", quiet);
    expect(quotas.handshakes).toBe(3);
  });

  test("from all addresses of a /64 count as one, of agents that come back too", () => {
    const { quotas } = stage({ handshakes: 10, handshakesPerAddress: 2, agentsPerSecond: 20 });
    for (let n = 1; n <= 2; n += 1) quotas.takeHandshake(`2001:db8::${n}`, quiet);
    expect(refusal(() => quotas.takeHandshake("2001:db8:0:0:ffff::1", quiet)).message).toContain("one address");
    expect(refusal(() => manySockets(quotas)).message).toContain("one address");
    quotas.takeHandshake("2001:db8:0:1::1", quiet);
    for (let n = 1; n <= 20; n += 1) quotas.admitAgent(`2001:db8::a:${n}`);
    expect(refusal(() => quotas.admitAgent("2001:db8::a:ffff")).code).toBe("CC_LIMIT_REACHED");
    quotas.admitAgent("203.0.113.9");
  });

  const manySockets = (quotas: ReturnType<typeof stage>["quotas"]): void => {
    for (let n = 1; n <= 3; n += 1) quotas.takeSocket(`2001:db8::${n}`, quiet);
  };

  test("are counted apart from sockets without a request, of which a proxy may have all", () => {
    const { quotas } = stage({ handshakes: 3, handshakesPerAddress: 1 });
    for (let n = 0; n < 3; n += 1) quotas.takeSocket("10.0.0.1", quiet, { isProxy: true });
    expect(refusal(() => quotas.takeSocket("10.0.0.1", quiet, { isProxy: true })).message).toContain("At most 3");
    quotas.takeHandshake("10.0.0.1", quiet);
    expect(quotas).toMatchObject({ silentSockets: 3, handshakes: 1 });
  });

  test("make room for another address when there are too many, the oldest of who has the most first", () => {
    const { quotas } = stage({ handshakes: 3, handshakesPerAddress: 3 });
    const ended: string[] = [];
    const take = (address: string, name: string) => quotas.takeHandshake(address, () => ended.push(name));
    const releaseFirst = take("10.0.0.1", "first");
    take("10.0.0.1", "second");
    take("10.0.0.2", "third");
    take("10.0.0.3", "fourth");
    expect(ended).toEqual(["first"]);
    releaseFirst();
    expect(quotas.handshakes).toBe(3);
    expect(refusal(() => take("10.0.0.1", "fifth")).code).toBe("CC_LIMIT_REACHED");
    expect(refusal(() => take("10.0.0.2", "fifth")).code).toBe("CC_LIMIT_REACHED");
    expect(ended).toEqual(["first"]);
  });

  test("are never more than the limits, and never fewer than were let in and not ended or released", () => {
    const step = fc.record({ address: fc.integer({ min: 1, max: 4 }), release: fc.boolean(), which: fc.nat() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const { quotas } = stage({ handshakes: 5, handshakesPerAddress: 3 });
        const held = new Set<() => void>();
        for (const { address, release, which } of steps) {
          if (release) {
            const one = [...held][which % Math.max(1, held.size)];
            one?.();
            if (one !== undefined) held.delete(one);
          } else {
            let taken: () => void = () => undefined;
            try {
              taken = quotas.takeHandshake(`10.0.0.${address}`, () => held.delete(taken));
              held.add(taken);
            } catch (error) {
              expect(error).toMatchObject({ code: "CC_LIMIT_REACHED" });
            }
          }
          expect(quotas.handshakes).toBe(held.size);
          expect(held.size).toBeLessThanOrEqual(5);
        }
      }),
    );
  });
});

test("agents that come all at once are told to come again at different times", () => {
  const { quotas, time } = stage({ agentsPerSecond: 10 });
  const come = (count: number): void => {
    for (let n = 0; n < count; n += 1) quotas.admitAgent(`10.0.0.${n % 4}`);
  };
  come(20);
  expect(refusal(() => come(1)).retryAfterMs).toBe(10_100);
  time.now += 1_000;
  come(10);
  expect(refusal(() => come(1)).code).toBe("CC_LIMIT_REACHED");
});

test("a flood of agents from one address does not refuse an agent from another", () => {
  const { quotas, time } = stage({ agentsPerSecond: 10 });
  const flood = (count: number): number => {
    let admitted = 0;
    for (let n = 0; n < count; n += 1) {
      try {
        quotas.admitAgent("10.0.0.1");
        admitted += 1;
      } catch (error) {
        expect(error).toMatchObject({ code: "CC_LIMIT_REACHED" });
      }
    }
    return admitted;
  };
  expect(flood(1_000)).toBe(10);
  for (let n = 0; n < 10; n += 1) quotas.admitAgent("10.0.0.2");
  time.now += 1_000;
  expect(flood(1_000)).toBe(5);
  quotas.admitAgent("10.0.0.2");
  quotas.admitAgent(undefined);
});

test("one address may bring half of the agents of each second, be it a single one", () => {
  const { quotas } = stage({ agentsPerSecond: 1 });
  quotas.admitAgent("10.0.0.1");
  quotas.admitAgent("10.0.0.1");
  expect(refusal(() => quotas.admitAgent("10.0.0.1")).retryAfterMs).toBe(11_000);
});

test.each([
  { what: "requests that change something", perSecond: 50, admit: "admitRequest" },
  { what: "public documents", perSecond: 100, admit: "admitReader" },
] as const)("one address may ask for $what $perSecond times a second, and for two seconds' worth at once", (row) => {
  const { quotas, time } = stage({});
  const ask = (address = "10.0.0.1"): void => quotas[row.admit](address);
  for (let n = 0; n < 2 * row.perSecond; n += 1) ask();
  const { code, retryAfterMs = 0 } = refusal(ask);
  expect([code, retryAfterMs]).toEqual(["CC_LIMIT_REACHED", 1_000 / row.perSecond]);
  ask("10.0.0.2");
  time.now += retryAfterMs;
  ask();
  expect(refusal(ask).code).toBe("CC_LIMIT_REACHED");
});

test("a caller that is early by a single millisecond is refused", () => {
  const perSecond = 1_000;
  const { quotas } = stage({ dialsPerSecondPerCaller: perSecond, opensPerSecondPerCaller: perSecond });
  const ann = caller("ann");
  for (let n = 0; n < 2 * perSecond; n += 1) {
    quotas.takeSession(ann)();
    quotas.takeStream(ann, "one", "open")();
  }
  expect(refusal(() => quotas.takeSession(ann)).retryAfterMs).toBe(1);
  expect(refusal(() => quotas.takeStream(ann, "one", "open")).retryAfterMs).toBe(1);
});

test("only the buckets of the keys seen last are kept", () => {
  const pacer = createPacer(1, { now: () => 0 }, { maxKeys: 2 });
  const use = (key: string): number => pacer.take(key);
  expect([use("a"), use("a"), use("b"), use("a")]).toEqual([0, 0, 0, 1_000]);
  use("c");
  expect(use("a")).toBe(1_000);
  expect([use("b"), use("b"), use("b")]).toEqual([0, 0, 1_000]);
});

test("a bucket lets no more through than its rate and one burst, whatever the clock does", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.array(fc.integer({ min: -1_000, max: 1_000 }), { maxLength: 200 }),
      (perSecond, steps) => {
        let now = 0;
        let forwardMs = 0;
        const bucket = createTokenBucket(perSecond, {}, { now: () => now });
        let passed = 0;
        for (const step of steps) {
          now += step;
          forwardMs += Math.max(0, step);
          if (bucket.take() === 0) passed += 1;
        }
        expect(passed).toBeLessThanOrEqual(perSecond * 2 + (forwardMs / 1_000) * perSecond + 1e-6);
      },
    ),
  );
});
