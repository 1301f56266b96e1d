import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { expectWithin } from "../support/reliability/promise.ts";
import { startPulse } from "../support/reliability/pulse.ts";
import { startRelayAgain } from "../support/reliability/relay-again.ts";
import { useSite } from "../support/reliability/site.ts";
import { allAnswer, finishAll, openEchoes } from "../support/reliability/streams.ts";

const site = useSite();

const DELAYED_BY_MS = 100;
const LOCKED_MS = 12_000;
const FSYNC_MS = 3_000;
const STRACE = "/usr/bin/strace";
/** Callers that come meanwhile: each is written into the audit. */
const CALLERS = 10;

/** New callers are served while the store does not write, and nothing that passes waits for it. */
async function passesMeanwhile(scene: string, fault: () => Promise<() => Promise<void>>, forMs: number): Promise<void> {
  const pulse = await startPulse(site().link("pulse"));
  const mend = await fault();
  const until = performance.now() + forMs;
  for (let index = 0; index < CALLERS; index += 1) {
    const streams = await openEchoes(site().link(`caller-${index}`), 1);
    await allAnswer(streams);
    await finishAll(streams);
  }
  await delay(Math.max(0, until - performance.now()));
  await mend();
  const { longestMs } = await pulse.stop();
  await expectWithin(scene, DELAYED_BY_MS, longestMs);
}

test("another process holds the store's write lock for 12 s: no byte waits for it", async () => {
  const { folder } = site();
  const lock = async () => {
    // It waits for the write that the relay may be at.
    const other = new DatabaseSync(join(folder, "relay", "data", "relay.db"), { timeout: LOCKED_MS });
    onTestFinished(() => other.close());
    other.exec("begin immediate");
    return async () => other.exec("rollback");
  };
  await passesMeanwhile("write lock held for 12 s", lock, LOCKED_MS);
});

test("each fsync takes three seconds: no byte waits for it", async ({ skip }) => {
  const found = await access(STRACE).then(
    () => true,
    () => false,
  );
  skip(!found, "strace is not there: apt-get install strace");
  // The kernel stops the relay at these two calls alone; all others take as long as without a tracer.
  const slowly = ["-e", "trace=fsync,fdatasync", "-e", `inject=fsync,fdatasync:delay_enter=${FSYNC_MS * 1_000}`];
  const calls = join(site().folder, "fsync.log");
  const under = [STRACE, "-f", "--seccomp-bpf", "-o", calls, ...slowly];
  onTestFinished(await startRelayAgain(site(), { log: "ignore", under }));
  await passesMeanwhile("each fsync takes 3 s", async () => async () => undefined, LOCKED_MS);
  expect((await readFile(calls, "utf8")).match(/DELAYED/g)?.length).toBeGreaterThan(2);
});
