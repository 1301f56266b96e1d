import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const SCRIPT = new URL("../support/no-files.ts", import.meta.url).pathname;

test("with no open file left a stream is refused at once with a code of its own, and the agent goes on", async () => {
  const command = 'ulimit -n 64; exec "$0" --conditions=source "$1"';
  const { stdout } = await promisify(execFile)("sh", ["-c", command, process.execPath, SCRIPT]);
  expect(JSON.parse(stdout)).toEqual({ full: "CC_LIMIT_REACHED", after: "CC_UPSTREAM_UNREACHABLE" });
});
