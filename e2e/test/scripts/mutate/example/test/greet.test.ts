import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const PROGRAM = fileURLToPath(new URL("../src/greet.ts", import.meta.url));

test("the program says hello, and loudly when asked to", () => {
  const say = (...args: readonly string[]) => execFileSync(process.execPath, [PROGRAM, ...args], { encoding: "utf8" });
  expect([say(), say("--loud")]).toEqual(["hello", "HELLO"]);
});
