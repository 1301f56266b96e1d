import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

/** A script of the workspace as its `package.json` starts it. */
async function script(name: string, ...args: readonly string[]) {
  return await new Promise<{ code: unknown; out: string; err: string }>((resolve) => {
    const command = ["--conditions=source", join(ROOT, "scripts", name), ...args];
    execFile(process.execPath, command, { cwd: ROOT }, (error, out, err) =>
      resolve({ code: error?.code ?? 0, out, err }),
    );
  });
}

test.each(["test.ts", "images.ts", "mutate.ts"])("%s --help says how to use it and does nothing", async (name) => {
  for (const args of [["--help"], ["--", "-h"]]) {
    const { code, out, err } = await script(name, ...args);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/^Usage: npx -y pnpm@12 \w+ [^\n]+\n\n/);
    expect(out).not.toMatch(/^\d+ passed/m);
  }
});

test.each([
  ["test.ts", ["--", "--project", "nope", "apps/none"], "nope"],
  ["images.ts", ["--", "--bse", "x"], "'--bse'"],
  ["test-changed.ts", ["--seconds", "x"], "--seconds takes whole seconds, not x"],
  ["images.ts", ["--", "--base", "x", "rely"], "There is no app rely; there are relay, agent, auth-proxy, cli"],
])("%s %j names what is wrong, without a stack", async (name, args, word) => {
  const { code, err } = await script(name, ...args);
  expect(code).toBe(1);
  expect(err).toMatch(/^error: /);
  expect(err).toContain(word);
  expect(err).not.toMatch(/^ +at /m);
});
