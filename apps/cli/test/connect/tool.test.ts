import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { clusterTools, lastLine } from "../../src/connect/tool.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tool-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function program(name: string, script: string): Promise<void> {
  await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`);
  await chmod(join(folder, name), 0o755);
}

const tools = (signal: AbortSignal = new AbortController().signal) =>
  clusterTools(
    { kubeconfig: "/k", kubeContext: "ctx" },
    { signal },
    { env: { PATH: `${folder}:/usr/bin:/bin`, HOME: folder } },
  );

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
  const bare = clusterTools({}, { signal: new AbortController().signal }, { env: { PATH: folder } });
  await expect(bare.kubectl([])).rejects.toMatchObject({
    code: "CC_COMMAND_NOT_FOUND",
    message: "kubectl is not installed",
  });
});
