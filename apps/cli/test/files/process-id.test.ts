import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { identifyProcess, mayBeAlive } from "../../src/files/process-id.ts";

test("this process is alive, and another one that had its number is not", () => {
  const own = identifyProcess(process.pid);
  expect(mayBeAlive(own)).toBe(true);
  expect(mayBeAlive({ ...own, host: "elsewhere" })).toBe(true);
  if (process.platform === "linux") expect(mayBeAlive({ ...own, startedAt: "1" })).toBe(false);
});

test.runIf(process.platform === "linux")("a process that ended is over, though its parent never notices", async () => {
  // The shell becomes a program that knows of no children.
  const parent = spawn("sh", ["-c", "sleep 600 & echo $!; exec sleep 600"], { stdio: ["ignore", "pipe", "ignore"] });
  onTestFinished(() => void parent.kill("SIGKILL"));
  const [chunk] = await once(parent.stdout, "data");
  const child = identifyProcess(Number(String(chunk).trim()));
  expect(mayBeAlive(child)).toBe(true);
  process.kill(child.pid, "SIGKILL");
  await expect.poll(() => mayBeAlive(child)).toBe(false);
  expect(() => process.kill(child.pid, 0)).not.toThrow();
});
