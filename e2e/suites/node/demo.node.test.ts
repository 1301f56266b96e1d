import { tmpdir } from "node:os";
import { beforeEach, expect, test } from "vitest";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";
import { notLocal } from "../support/provider.ts";
import { NO_END } from "../support/stack.ts";

const MAIN = repositoryFile("e2e/src/demo/main.ts");

beforeEach(({ skip }) => skip(notLocal !== undefined, notLocal));

function demo(...args: readonly string[]): Promise<RunResult> {
  const { INIT_CWD: _cwd, ...env } = process.env;
  return runToEnd(process.execPath, ["--conditions=source", MAIN, ...args], { env, signal: NO_END, cwd: tmpdir() });
}

test("demo --node makes the person an administrator with a pod to exec into", async () => {
  const script = "kubectl auth whoami -o jsonpath={.status.userInfo.username}; kubectl exec shell -- sh -c 'exit 9'";
  expect(await demo("--node", "--", "sh", "-c", script)).toMatchObject({ code: 9, stdout: "demo:admin" });
});

test("demo --node with another cluster is refused at once", async () => {
  const refused = await demo("--node", "--context", "anything");
  expect(refused).toMatchObject({ code: 2, stdout: "" });
  expect(refused.stderr).toContain("--node and --context exclude each other (CC_USAGE)");
});
