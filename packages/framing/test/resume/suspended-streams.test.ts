import { expect, test } from "vitest";
import { createSuspendedStreams, type SuspendedStreams, suspendedBytesOf } from "../../src/resume/suspended-streams.ts";
import type { TakerStream } from "../../src/resume/taker-stream.ts";

/** A stream's own cost, beside the bytes that it holds. */
const OWN = 32_768;

function stage(maxBytes: number) {
  const suspended: SuspendedStreams = createSuspendedStreams(maxBytes);
  const ended: string[] = [];
  /** A fake of a stream: it holds so many bytes, and leaves when it is reset. */
  const streamOf = (subject: string, name: string, retainedBytes = 0, unreadBytes = 0) => {
    const endpoint = { retainedBytes, unreadBytes };
    const reset = (): void => {
      ended.push(name);
      suspended.remove(fake);
    };
    const caller = { issuer: "https://issuer.test", subject };
    const fake = { terms: { caller }, stream: { endpoint, reset } } as unknown as TakerStream;
    return { fake, endpoint };
  };
  const take = (...given: Parameters<typeof streamOf>): boolean => {
    const { fake } = streamOf(...given);
    if (!suspended.makeRoom(fake)) return false;
    suspended.add(fake);
    return true;
  };
  return { suspended, ended, streamOf, take };
}

test("a stream that may wait needs its own cost and a smallest window in each direction", () => {
  expect([suspendedBytesOf(1), suspendedBytesOf(3)]).toEqual([40_960, 122_880]);
});

test("streams wait while what they cost, keep and have unread fits to the byte", () => {
  const { take, ended } = stage(2 * OWN + 30);
  expect(take("ann", "first", 10, 20)).toBe(true);
  expect(take("ann", "second")).toBe(true);
  expect(take("ann", "third")).toBe(false);
  expect(ended).toEqual([]);
  const short = stage(2 * OWN + 29);
  expect([short.take("ann", "first", 10, 20), short.take("ann", "second")]).toEqual([true, false]);
});

test("a caller's oldest stream ends for another's when the caller holds more than the other would, be it by a byte", () => {
  const { take, ended } = stage(OWN + 1);
  expect(take("ann", "ann's", 1)).toBe(true);
  expect(take("bob", "bob's")).toBe(true);
  expect(ended).toEqual(["ann's"]);
  expect(take("ann", "ann's next")).toBe(false);
  expect(ended).toEqual(["ann's"]);
});

test.each([
  ["first", ["ann", "ann", "bob"]],
  ["last", ["bob", "ann", "ann"]],
])("the caller that holds the most gives way, be its streams the %s", (_, subjects) => {
  const { take, ended, suspended } = stage(3 * OWN);
  for (const [at, subject] of subjects.entries()) expect(take(subject, `${subject} ${at}`)).toBe(true);
  expect(take("eve", "eve's")).toBe(true);
  expect(ended).toEqual([`ann ${subjects.indexOf("ann")}`]);
  expect(suspended.size).toBe(3);
});

test("a stream that is added again counts anew, and stands behind the others", () => {
  const { suspended, streamOf, take } = stage(2 * OWN + 7);
  const [one, two] = [streamOf("ann", "one", 7), streamOf("ann", "two")];
  suspended.add(one.fake);
  suspended.add(two.fake);
  suspended.add(one.fake);
  expect(suspended.list()).toEqual([two.fake, one.fake]);
  suspended.remove(two.fake);
  expect(take("ann", "three")).toBe(true);
  expect(take("ann", "four")).toBe(false);
});
