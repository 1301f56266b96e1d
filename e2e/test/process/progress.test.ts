import { expect, test } from "vitest";
import { createProgress } from "../../src/process/progress.ts";

function recorder(isTTY: boolean): {
  readonly written: string[];
  readonly write: (text: string) => void;
  readonly isTTY: boolean;
} {
  const written: string[] = [];
  return { written, isTTY, write: (text) => written.push(text) };
}

test("off a terminal every message is one whole line without control characters", async () => {
  const target = recorder(false);
  let now = 0;
  const progress = createProgress(target, { now: () => now });
  progress.line("first");
  await progress.during("building", async () => {
    now = 4_000;
  });
  expect(target.written).toEqual(["first\n", "building\n", "building: done in 4 s\n"]);
});

test("on a terminal the last word replaces the line that was shown meanwhile", async () => {
  const target = recorder(true);
  const progress = createProgress(target, { now: () => 0 });
  await progress.during("building", async () => {});
  expect(target.written).toEqual(["building", "\r\u001b[2Kbuilding: done in 0 s\n"]);
});

test("a failure is shown and passed on", async () => {
  const target = recorder(false);
  const progress = createProgress(target, { now: () => 0 });
  const failure = new Error("no disk");
  await expect(progress.during("building", () => Promise.reject(failure))).rejects.toBe(failure);
  expect(target.written.at(-1)).toBe("building: failed after 0 s\n");
});
