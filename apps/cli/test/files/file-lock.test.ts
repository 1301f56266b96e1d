import { fork } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { withFileLock } from "../../src/files/file-lock.ts";
import { tempFolder } from "../support/temp-folder.ts";

const HOLDER = fileURLToPath(new URL("../support/lock-holder.ts", import.meta.url));
const signal = new AbortController().signal;
const tooLate = (holder: { readonly pid: number | undefined }): Error => new Error(`held by ${holder.pid}`);

test("many that want the lock have it one at a time", async () => {
  const lock = join(await tempFolder(), "lock");
  let inside = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    inside += 1;
    most = Math.max(most, inside);
    await new Promise((resolve) => setImmediate(resolve));
    inside -= 1;
  };
  const all = Array.from({ length: 30 }, () => withFileLock(lock, { signal, waitMs: 30_000 }, tooLate, work));
  await Promise.all(all);
  expect(most).toBe(1);
});

test("a lock that is held for too long is told with its holder", async () => {
  const lock = join(await tempFolder(), "lock");
  const waiting = withFileLock(lock, { signal, waitMs: 0 }, tooLate, async () => {
    await withFileLock(lock, { signal, waitMs: 0 }, tooLate, async () => {});
  });
  await expect(waiting).rejects.toThrow(`held by ${process.pid}`);
});

test("the lock of a process that was killed is taken over, and its leftovers are removed", async () => {
  const folder = await tempFolder();
  const lock = join(folder, "lock");
  const holder = fork(HOLDER, [lock], { execArgv: ["--conditions=source"] });
  onTestFinished(() => void holder.kill("SIGKILL"));
  await once(holder, "message");
  await writeFile(join(folder, `.cluster-connect-${holder.pid}-00000000-0000-0000-0000-000000000000.tmp`), "half");
  holder.kill("SIGKILL");
  await once(holder, "exit");
  expect(await readFile(lock, "utf8")).toContain(`cluster-connect ${holder.pid} `);
  const result = await withFileLock(lock, { signal, waitMs: 5_000 }, tooLate, async () => "mine");
  expect(result).toBe("mine");
  expect(await readdir(folder)).toEqual([]);
});

test("the lock of a process that runs is waited for, not taken over", async () => {
  const lock = join(await tempFolder(), "lock");
  const holder = fork(HOLDER, [lock], { execArgv: ["--conditions=source"] });
  onTestFinished(() => void holder.kill("SIGKILL"));
  await once(holder, "message");
  await expect(withFileLock(lock, { signal, waitMs: 100 }, tooLate, async () => {})).rejects.toThrow(
    `held by ${holder.pid}`,
  );
  holder.send("let go");
  expect(await withFileLock(lock, { signal, waitMs: 30_000 }, tooLate, async () => "mine")).toBe("mine");
});

test("another program's lock is never taken over", async () => {
  const lock = join(await tempFolder(), "lock");
  await writeFile(lock, "");
  await expect(withFileLock(lock, { signal, waitMs: 100 }, tooLate, async () => {})).rejects.toThrow(
    "held by undefined",
  );
  expect(await readFile(lock, "utf8")).toBe("");
});

test("waiting ends when it is no longer wanted", async () => {
  const lock = join(await tempFolder(), "lock");
  await writeFile(lock, "");
  const stop = new AbortController();
  const waiting = withFileLock(lock, { signal: stop.signal, waitMs: 30_000 }, tooLate, async () => {});
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
});
