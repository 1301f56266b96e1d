import { fork } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { describeHolder, type LockHolder, withFileLock } from "../../src/files/file-lock.ts";
import { formatProcessId, identifyProcess, processScope } from "../../src/files/process-id.ts";

const HOLDER = fileURLToPath(new URL("../support/lock-holder.ts", import.meta.url));
const signal = new AbortController().signal;
const tooLate = (holder: { readonly pid: number | undefined }): Error => new Error(`held by ${holder.pid}`);

test("many that want the lock have it one at a time", async () => {
  const lock = join(await temporaryFolder(), "lock");
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
  const lock = join(await temporaryFolder(), "lock");
  const waiting = withFileLock(lock, { signal, waitMs: 0 }, tooLate, async () => {
    await withFileLock(lock, { signal, waitMs: 0 }, tooLate, async () => {});
  });
  await expect(waiting).rejects.toThrow(`held by ${process.pid}`);
});

test("the lock of a process that was killed is taken over, and its leftovers are removed", async () => {
  const folder = await temporaryFolder();
  const lock = join(folder, "lock");
  const holder = fork(HOLDER, [lock], { execArgv: ["--conditions=source"] });
  onTestFinished(() => void holder.kill("SIGKILL"));
  await once(holder, "message");
  const left = (scope: string): string =>
    `.cluster-connect-${scope}-${holder.pid}-00000000-0000-0000-0000-000000000000.tmp`;
  await writeFile(join(folder, left(processScope())), "half");
  // The same number in another container is another process, which may be writing just now.
  await writeFile(join(folder, left("00000000")), "half");
  holder.kill("SIGKILL");
  await once(holder, "exit");
  expect(await readFile(lock, "utf8")).toContain(`cluster-connect ${holder.pid} `);
  const result = await withFileLock(lock, { signal, waitMs: 5_000 }, tooLate, async () => "mine");
  expect(result).toBe("mine");
  expect(await readdir(folder)).toEqual([left("00000000")]);
});

test("the lock of a process that runs is waited for, not taken over", async () => {
  const lock = join(await temporaryFolder(), "lock");
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
  const lock = join(await temporaryFolder(), "lock");
  await writeFile(lock, "");
  await expect(withFileLock(lock, { signal, waitMs: 100 }, tooLate, async () => {})).rejects.toThrow(
    "held by undefined",
  );
  expect(await readFile(lock, "utf8")).toBe("");
});

test("waiting ends when it is no longer wanted", async () => {
  const lock = join(await temporaryFolder(), "lock");
  await writeFile(lock, "");
  const stop = new AbortController();
  const waiting = withFileLock(lock, { signal: stop.signal, waitMs: 30_000 }, tooLate, async () => {});
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
});

test.each(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL"])(
  "on a file system that answers %s to hard links, many have the lock one at a time",
  async (code) => {
    const lock = join(await temporaryFolder(), "lock");
    const link = async (): Promise<never> => {
      throw Object.assign(new Error(`${code}: link`), { code });
    };
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setImmediate(resolve));
      expect(await readFile(lock, "utf8")).toContain(`cluster-connect ${process.pid} `);
      inside -= 1;
    };
    const all = Array.from({ length: 10 }, () =>
      withFileLock(lock, { signal, waitMs: 30_000 }, tooLate, work, { link }),
    );
    await Promise.all(all);
    expect(most).toBe(1);
    expect(await readdir(join(lock, ".."))).toEqual([]);
  },
);

test("a folder that cannot be written is told, however it says so", async () => {
  const link = async (): Promise<never> => {
    throw Object.assign(new Error("EROFS: link"), { code: "EROFS" });
  };
  const lock = join(await temporaryFolder(), "lock");
  await expect(withFileLock(lock, { signal, waitMs: 0 }, tooLate, async () => {}, { link })).rejects.toThrow(
    `${lock} cannot be created: the file system is read-only`,
  );
});

test("a lock of another machine or container is waited for, and told as such", async () => {
  const lock = join(await temporaryFolder(), "lock");
  const owner = formatProcessId({ ...identifyProcess(process.pid), namespace: "pid:[1]" });
  await writeFile(lock, `cluster-connect ${owner}\n`);
  const describe = (holder: LockHolder): Error => new Error(describeHolder(holder));
  await expect(withFileLock(lock, { signal, waitMs: 0 }, describe, async () => {})).rejects.toThrow(
    `process ${process.pid} of another machine or container`,
  );
});
