import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { withLock } from "../../src/cluster/lock.ts";

const HOLDER = fileURLToPath(new URL("./fixtures/hold-lock.ts", import.meta.url));
const signal = new AbortController().signal;

async function holdElsewhere(path: string): Promise<ChildProcess> {
  const holder = spawn(process.execPath, [HOLDER, path], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => {
    holder.kill("SIGKILL");
  });
  await once(holder.stdout, "data");
  return holder;
}

test("two pieces of work under one lock never overlap", async () => {
  const path = join(await temporaryFolder(), "deep", "lock");
  let inside = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    inside++;
    most = Math.max(most, inside);
    await new Promise((resolve) => setImmediate(resolve));
    inside--;
  };
  await Promise.all([1, 2, 3].map(() => withLock(path, { signal }, work)));
  expect(most).toBe(1);
});

test("a second process waits, says so once, and goes on when the first lets go", async () => {
  const path = join(await temporaryFolder(), "lock");
  const holder = await holdElsewhere(path);
  let waits = 0;
  const waiting = Promise.withResolvers<void>();
  const onWait = (): void => {
    waits++;
    waiting.resolve();
  };
  const second = withLock(path, { signal, onWait }, async () => "in");
  await waiting.promise;
  holder.stdin?.end();
  expect(await second).toBe("in");
  expect(waits).toBe(1);
});

test("a lock whose owner was killed is taken over", async () => {
  const path = join(await temporaryFolder(), "lock");
  const holder = await holdElsewhere(path);
  const onWait = (): void => {
    holder.kill("SIGKILL");
  };
  expect(await withLock(path, { signal, onWait }, async () => "taken over")).toBe("taken over");
});

test("waiting ends with the signal", async () => {
  const path = join(await temporaryFolder(), "lock");
  await holdElsewhere(path);
  const controller = new AbortController();
  const waiting = withLock(path, { signal: controller.signal, onWait: () => controller.abort() }, async () => "in");
  await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
});

test("the lock is free again after work that failed", async () => {
  const path = join(await temporaryFolder(), "lock");
  await expect(withLock(path, { signal }, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await withLock(path, { signal }, async () => "free")).toBe("free");
});
