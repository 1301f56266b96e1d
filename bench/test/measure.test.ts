import fc from "fast-check";
import { expect, test } from "vitest";
import { measure, percentile, type Question, type Sample, type Subject } from "../src/measure.ts";

/** A subject that measures these samples, one after the other, and the order in which subjects ran. */
function subject(name: string, samples: readonly Sample[], ran: string[] = []): Subject {
  let turn = 0;
  return {
    name,
    run: async () => {
      ran.push(name);
      const sample = samples[turn] ?? {};
      turn += 1;
      return sample;
    },
  };
}

const times = (...values: readonly number[]): readonly Sample[] => values.map((ms) => ({ ms }));
const question = (subjects: readonly Subject[], more: Partial<Question> = {}): Question => ({
  name: "ping",
  units: { ms: "ms" },
  subjects,
  targets: [],
  warmUp: false,
  ...more,
});

test("a spread is the middle, the smallest and the largest, whatever the order", async () => {
  const [row] = await measure(question([subject("ours", times(9, 1, 5, 7, 3))]), { rounds: 5 });
  expect(row?.spread).toEqual({ median: 5, min: 1, max: 9 });
});

test("the middle of an even number of rounds lies between the two middle ones", async () => {
  const [row] = await measure(question([subject("ours", times(1, 2, 4, 100))]), { rounds: 4 });
  expect(row?.spread.median).toBe(3);
});

test("a ratio is taken within each round, so that a slow round counts for both sides", async () => {
  const subjects = [subject("ours", times(2, 40, 6)), subject("theirs", times(1, 10, 2))];
  const [ours, theirs] = await measure(question(subjects), { rounds: 3 });
  expect(ours?.ratio).toBeUndefined();
  expect(theirs?.ratio).toEqual({ median: 3, min: 2, max: 4 });
});

test("the subjects take turns, and each round begins with another one", async () => {
  const ran: string[] = [];
  const subjects = ["a", "b", "c"].map((name) => subject(name, times(1, 1, 1), ran));
  await measure(question(subjects), { rounds: 3 });
  expect(ran.join("")).toBe("abcbcacab");
});

test("a round to warm up does not count", async () => {
  const ran: string[] = [];
  const subjects = [subject("ours", times(900, 1, 2, 3), ran), subject("theirs", times(900, 1, 1, 1), ran)];
  const [row] = await measure(question(subjects, { warmUp: true }), { rounds: 3 });
  expect(row?.spread).toEqual({ median: 2, min: 1, max: 3 });
  expect(ran).toHaveLength(8);
});

test("a metric that a subject does not measure has no row", async () => {
  const subjects = [subject("ours", [{ ms: 1, bytes: 7 }]), subject("theirs", [{ ms: 1 }])];
  const rows = await measure(question(subjects, { units: { ms: "ms", bytes: "B" } }), { rounds: 1 });
  expect(rows.map((row) => `${row.metric} ${row.subject}`)).toEqual(["ms ours", "ms theirs", "bytes ours"]);
});

test.each<
  [wanted: string, bound: { readonly atLeast?: number; readonly atMost?: number }, ratio: number, met: boolean]
>([
  ["≤ 2", { atMost: 2 }, 2, true],
  ["≤ 2", { atMost: 2 }, 2.01, false],
  ["≥ 2", { atLeast: 2 }, 2, true],
  ["≥ 2", { atLeast: 2 }, 1.99, false],
])("%s against another subject is judged by the ratio", async (target, bound, ratio, met) => {
  const subjects = [subject("ours", times(ratio)), subject("theirs", times(1))];
  const targets = [{ metric: "ms", against: "theirs", ...bound }];
  const [ours, theirs] = await measure(question(subjects, { targets }), { rounds: 1 });
  expect(ours?.verdict).toBeUndefined();
  expect(theirs?.verdict).toEqual({ target, met });
});

test.each([
  [10, true],
  [11, false],
])("a target without another subject is about our own number: %d", async (ms, met) => {
  const subjects = [subject("ours", times(ms)), subject("theirs", times(1))];
  const [ours, theirs] = await measure(question(subjects, { targets: [{ metric: "ms", atMost: 10 }] }), { rounds: 1 });
  expect(ours?.verdict).toEqual({ target: "≤ 10", met });
  expect(theirs?.verdict).toBeUndefined();
});

test("a subject that fails is named, with its question", async () => {
  const broken: Subject = { name: "theirs", run: () => Promise.reject(new Error("no route")) };
  await expect(measure(question([broken]), { rounds: 1 })).rejects.toThrow(
    "ping through theirs failed: Error: no route",
  );
});

test.each([
  [0, 1],
  [0.5, 6],
  [0.99, 10],
  [1, 10],
])("the part %d of ten numbers", (part, value) => {
  expect(percentile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], part)).toBe(value);
});

test("a percentile is one of the numbers, and grows with its part; of none it is not a number", () => {
  expect(percentile([], 0.5)).toBeNaN();
  const numbers = fc.array(fc.integer(), { minLength: 1 }).map((all) => all.toSorted((a, b) => a - b));
  const part = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(numbers, part, part, (sorted, a, b) => {
      expect(sorted).toContain(percentile(sorted, a));
      expect(percentile(sorted, Math.min(a, b))).toBeLessThanOrEqual(percentile(sorted, Math.max(a, b)));
    }),
  );
});
