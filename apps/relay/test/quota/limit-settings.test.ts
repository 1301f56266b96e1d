import { describe, expect, test } from "vitest";
import { LIMIT_SCHEMA, type LimitSettings } from "../../src/quota/limit-settings.ts";
import { createQuotas, type Quotas } from "../../src/quota/quotas.ts";

const caller = { issuer: "https://issuer.test", subject: "ann", username: "ann", groups: [], extra: {}, claims: {} };
const ann = { ...caller, expiresAt: new Date(0) };

type Given = Readonly<Partial<LimitSettings>>;

/** The limits that contradict each other: a setting, its largest value, and the setting that leaves no room for more. */
const PAIRS: readonly (readonly [setting: keyof LimitSettings, largest: number, other: Given])[] = [
  ["sessionsPerCaller", 7, { sessions: 7 }],
  ["sessionsPerCaller", 30, { dialsPerSecondPerCaller: 3 }],
  ["streamsPerCaller", 9, { streams: 9 }],
  ["streamsPerCaller", 50, { resumesPerSecondPerCaller: 5 }],
  ["streamsPerCluster", 9, { streams: 9 }],
  ["streams", 4_096, { bufferMebibytes: 16 }],
  ["handshakesPerAddress", 4, { handshakes: 4 }],
  ["agents", 300, { agentsPerSecond: 5 }],
];

describe.each(PAIRS)("limits.%s up to %d beside %j", (setting, largest, other) => {
  test("is taken at that", () => {
    expect(LIMIT_SCHEMA.parse({ ...other, [setting]: largest })).toMatchObject({ ...other, [setting]: largest });
  });

  test("is refused one past it, with a sentence that names both settings", () => {
    const { success, error } = LIMIT_SCHEMA.safeParse({ ...other, [setting]: largest + 1 });
    expect(success).toBe(false);
    expect(error?.issues).toHaveLength(1);
    expect(error?.issues[0]).toMatchObject({ path: [setting] });
    const message = error?.issues[0]?.message ?? "";
    expect(message).toContain(`expected at most ${largest}: `);
    for (const name of Object.keys(other)) expect(message).toContain(`\`limits.${name}\``);
  });

  test("follows from it where it is not given", () => {
    const { [setting]: derived } = LIMIT_SCHEMA.parse(other);
    expect(derived).toBeLessThanOrEqual(largest);
    expect(derived).toBeGreaterThan(0);
  });
});

test("the defaults let every stream of a caller go on within a second, and all agents within their streams' grace", () => {
  expect(LIMIT_SCHEMA.parse(undefined)).toEqual({
    sessionsPerCaller: 100,
    sessions: 20_000,
    dialsPerSecondPerCaller: 50,
    listsPerSecondPerCaller: 50,
    streamsPerCaller: 2_000,
    streamsPerCluster: 10_000,
    streams: 50_000,
    opensPerSecondPerCaller: 200,
    resumesPerSecondPerCaller: 2_000,
    handshakes: 2_000,
    handshakesPerAddress: 1_000,
    agents: 12_000,
    agentsPerSecond: 200,
    bytesPerSecondPerCaller: undefined,
    bytesPerSecondPerCluster: undefined,
    bufferMebibytes: 1_024,
  });
});

/** Counts how many are taken at one moment before one is refused. */
function takenBefore(limits: Given, take: (quotas: Quotas, index: number) => unknown): number {
  const quotas = createQuotas(LIMIT_SCHEMA.parse(limits), { now: () => 0, random: () => 0 });
  for (let taken = 0; taken < 1_000; taken += 1) {
    try {
      take(quotas, taken);
    } catch (error) {
      expect(error).toMatchObject({ code: "CC_LIMIT_REACHED" });
      return taken;
    }
  }
  throw new Error("nothing was refused");
}

const other = (index: number): typeof ann => ({ ...ann, subject: `caller-${index}` });
const quiet = (): void => undefined;

/** A count takes its limit, a pace takes a burst of two seconds. One more is refused. */
test.each<readonly [keyof LimitSettings, number, Given, (quotas: Quotas, index: number) => unknown]>([
  ["sessionsPerCaller", 4, { sessionsPerCaller: 4 }, (quotas) => quotas.takeSession(ann)],
  ["sessions", 4, { sessions: 4 }, (quotas, index) => quotas.takeSession(other(index))],
  ["streamsPerCaller", 4, { streamsPerCaller: 4 }, (quotas, i) => quotas.takeStream(ann, `c${i}`, "open")],
  ["streamsPerCluster", 4, { streamsPerCluster: 4 }, (quotas, i) => quotas.takeStream(other(i), "one", "open")],
  ["streams", 4, { streams: 4 }, (quotas, i) => quotas.takeStream(other(i), `c${i}`, "open")],
  ["opensPerSecondPerCaller", 8, { opensPerSecondPerCaller: 4 }, (quotas) => quotas.takeStream(ann, "one", "open")()],
  [
    "resumesPerSecondPerCaller",
    8,
    { resumesPerSecondPerCaller: 4 },
    (quotas) => quotas.takeStream(ann, "one", "resume")(),
  ],
  ["dialsPerSecondPerCaller", 8, { dialsPerSecondPerCaller: 4 }, (quotas) => quotas.takeSession(ann)()],
  ["listsPerSecondPerCaller", 8, { listsPerSecondPerCaller: 4 }, (quotas) => quotas.admitList(ann)],
  ["handshakesPerAddress", 4, { handshakesPerAddress: 4 }, (quotas) => quotas.takeHandshake("10.0.0.1", quiet)],
  ["agents", 4, { agents: 4 }, (quotas) => quotas.takeAgent()],
  ["agentsPerSecond", 8, { agentsPerSecond: 4 }, (quotas, index) => quotas.admitAgent(`10.0.0.${index}`)],
])("limits.%s: %d are taken at once, and the next one is refused", (_setting, taken, limits, take) => {
  expect(takenBefore(limits, take)).toBe(taken);
});

test("limits.handshakes: four stand, and one more ends the oldest", () => {
  const quotas = createQuotas(LIMIT_SCHEMA.parse({ handshakes: 4 }), { now: () => 0, random: () => 0 });
  const ended: number[] = [];
  const take = (index: number) => quotas.takeHandshake(`10.0.0.${index % 4}`, () => ended.push(index));
  for (let index = 0; index < 4; index += 1) take(index);
  expect(ended).toEqual([]);
  quotas.takeHandshake("10.0.1.1", quiet);
  expect(ended).toEqual([0]);
  expect(quotas.handshakes).toBe(4);
});
