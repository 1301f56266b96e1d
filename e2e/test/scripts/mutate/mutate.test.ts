import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../../../..");
const EXAMPLE = join(import.meta.dirname, "example/src");

async function mutate(...args: readonly string[]) {
  return await new Promise<{ code: unknown; out: string; err: string }>((resolve) => {
    const command = ["--conditions=source", join(ROOT, "scripts/mutate.ts"), ...args];
    execFile(process.execPath, command, { cwd: ROOT }, (error, out, err) =>
      resolve({ code: error?.code ?? 0, out, err }),
    );
  });
}

test("a fault that no test notices is printed with its place and both texts, and the file stays as it is", async () => {
  const before = readFileSync(join(EXAMPLE, "grown.ts"), "utf8");
  const { code, out } = await mutate(join(EXAMPLE, "grown.ts"));
  expect(out).toContain("grown.ts:1\n- export const isGrown = (age: number): boolean => age >= 18;\n");
  expect(out).toContain("+ export const isGrown = (age: number): boolean => age > 18;\n");
  expect(out).not.toContain("age < 18");
  expect(out).toContain("grown.ts: 3 noticed (0 by time), 3 not noticed, 0 explained");
  expect(code).toBe(1);
  expect(readFileSync(join(EXAMPLE, "grown.ts"), "utf8")).toBe(before);
});

test("the processes that a test starts run with the fault as well", async () => {
  const { code, out } = await mutate("--lines", "2-2", join(EXAMPLE, "greet.ts"));
  expect(out).toContain("greet.ts: 3 noticed (0 by time), 0 not noticed, 0 explained");
  expect(code).toBe(0);
});

test("a test that a fault of one file has failed stands for itself with the next file", async () => {
  const { code, out } = await mutate("--lines", "1-1", join(EXAMPLE, "grown.ts"), join(EXAMPLE, "unused.ts"));
  expect(out).toContain("grown.ts: 3 noticed");
  expect(out).toContain("unused.ts: 2 noticed (0 by time), 1 not noticed, 0 explained");
  expect(code).toBe(1);
});

test("code that no test gets to is named as such", async () => {
  const { code, out } = await mutate(join(EXAMPLE, "unused.ts"));
  expect(out).toContain("unused.ts:4 (no test gets here)\n- return a + 0;\n+ return undefined;\n");
  expect(code).toBe(1);
});

test.each([
  [[], "Name at least one source file"],
  [["--lines", "x", "apps/relay/src/main.ts"], "--lines takes FROM-TO, as in 10-40, not x"],
  [["--seconds", "0", "apps/relay/src/main.ts"], "--seconds takes whole seconds, not 0"],
  [["--patience", "1.5", "apps/relay/src/main.ts"], "--patience takes whole seconds, not 1.5"],
  [["README.md"], "README.md is no source file of a workspace"],
  [["apps/relay/src/nothing.ts"], "apps/relay/src/nothing.ts"],
])("%j is refused by a line that names what is wrong", async (args, word) => {
  const { code, err } = await mutate(...args);
  expect(code).toBe(1);
  expect(err).toMatch(/^error: [^\n]+\n$/);
  expect(err).toContain(word);
});
