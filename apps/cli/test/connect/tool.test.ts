import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFakeClock, type FakeClock } from "@cluster-connect/framing/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { clusterTools, lastLine } from "../../src/connect/tool.ts";
import { testCli } from "../support/cli.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tool-"));
  clock = createFakeClock();
  shown = "";
});
afterEach(() => rm(folder, { recursive: true }));

async function program(name: string, script: string): Promise<void> {
  await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`);
  await chmod(join(folder, name), 0o755);
}

let clock: FakeClock;
let shown: string;
const tools = (signal: AbortSignal = new AbortController().signal) =>
  clusterTools({ kubeconfig: "/k", kubeContext: "ctx" }, { signal }, depsWith(`${folder}:/usr/bin:/bin`));

function depsWith(path: string): Parameters<typeof clusterTools>[2] {
  const { deps } = testCli(folder, { env: { PATH: path, HOME: folder } });
  const write = (text: string): void => {
    shown += text;
  };
  return { ...deps, clock, stderr: { ...deps.stderr, write } };
}

test("kubeconfig, context and input reach the tool; its words and its code come back", async () => {
  await program("kubectl", 'echo "$KUBECONFIG $*"; cat; echo problem >&2; exit 3');
  const done = await tools().kubectl(["get", "pods"], "input\n");
  expect(done).toEqual({ code: 3, stdout: "/k get pods --context ctx\ninput\n", stderr: "problem\n" });
  expect(lastLine(done)).toBe("problem");
});

test("a tool that is asked to end may finish what it does first", async () => {
  await program(
    "helm",
    `trap 'echo cleaned > ${folder}/said; exit 1' TERM; echo up > ${folder}/up; while :; do sleep 0.05; done`,
  );
  const stop = new AbortController();
  const running = tools().helm(["upgrade"], "", stop.signal);
  await expect.poll(() => readFile(join(folder, "up"), "utf8").catch(() => "")).toBe("up\n");
  stop.abort(new Error("enough"));
  await expect(running).rejects.toThrow("enough");
  expect(await readFile(join(folder, "said"), "utf8")).toBe("cleaned\n");
});

test("a tool that is not installed is named", async () => {
  const bare = clusterTools({}, { signal: new AbortController().signal }, depsWith(folder));
  await expect(bare.kubectl([])).rejects.toMatchObject({
    code: "CC_COMMAND_NOT_FOUND",
    message: "kubectl is not installed",
  });
});

test("a credential plugin's prompt is shown while it waits, without what controls a terminal", async () => {
  const prompt = "To sign in, open https://login.example.com and enter the code ABCD";
  await program(
    "kubectl",
    `printf '${prompt}\\n\\n\\033[2Jagain\\n' >&2; touch ${folder}/up; while [ ! -e ${folder}/entered ]; do sleep 0.05; done; echo done; echo last >&2`,
  );
  const running = tools().kubectl(["get", "pods"]);
  await expect
    .poll(async () => {
      // As long as the tool runs, time passes.
      await clock.advance(1_000);
      return shown;
    })
    .toContain("again");
  expect(shown).toContain(`kubectl: ${prompt}\nkubectl: `);
  expect(shown).not.toContain("\u001b");
  await writeFile(join(folder, "entered"), "");
  const { code, stdout, stderr } = await running;
  expect([code, stdout]).toEqual([0, "done\n"]);
  // All of it is there for the tool's caller as well.
  expect(stderr).toContain(prompt);
  expect(stderr).toMatch(/last\n$/);
});

test("words of a tool that ends before long are its caller's alone", async () => {
  await program("helm", "echo 'Error: not found' >&2; exit 1");
  expect(await tools().helm(["status"])).toMatchObject({ code: 1, stderr: "Error: not found\n" });
  await clock.advance(60_000);
  expect(shown).toBe("");
});
