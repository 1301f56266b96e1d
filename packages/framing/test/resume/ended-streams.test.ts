import { expect, test } from "vitest";
import { createEndedStreams } from "../../src/resume/ended-streams.ts";
import type { TakerStreamTerms } from "../../src/resume/taker-stream.ts";
import { createFakeClock } from "../../src/testing/index.ts";

const terms = (at: number): TakerStreamTerms =>
  ({ digest: `key ${at}`, caller: undefined, graceMs: 60_000 }) as TakerStreamTerms;

test("so many streams that are over are remembered, and the oldest is forgotten for one more", async () => {
  const clock = createFakeClock();
  const ended = createEndedStreams({ clock });
  for (let at = 1; at <= 4_096; at += 1) ended.add(terms(at), undefined);
  expect(ended.find("key 1")).toBeDefined();
  ended.add(terms(4_097), undefined);
  expect([ended.find("key 1"), ended.find("key 2")]).toEqual([undefined, expect.anything()]);
  await clock.advance(59_999);
  expect(ended.find("key 4097")).toBeDefined();
  await clock.advance(1);
  expect(ended.find("key 4097")).toBeUndefined();
});
