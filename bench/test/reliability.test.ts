import { expect, test } from "vitest";
import { parseScenes, renderScenes } from "../src/reliability.ts";

test("each scene is a row, and a promise is broken past its time and not at it", () => {
  const lines = [
    { scene: "relay away for 2 s", promisedMs: 2_000, measuredMs: 2_000 },
    { scene: "write lock held for 12 s", promisedMs: 100, measuredMs: 100.2 },
  ];
  const text = `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`;
  expect(renderScenes(parseScenes(text)).split("\n").slice(2)).toEqual([
    "| relay away for 2 s | 2000 | 2000 | kept |",
    "| write lock held for 12 s | 100 | 100 | broken |",
  ]);
});

test("no scene is a table without rows, and a line that is none is refused", () => {
  expect(renderScenes(parseScenes("")).split("\n")).toHaveLength(2);
  expect(() => parseScenes('{"scene":"x"}\n')).toThrow(/promisedMs/);
});
