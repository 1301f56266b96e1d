import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { expectWithin } from "../support/reliability/promise.ts";
import { startPulse } from "../support/reliability/pulse.ts";
import { type RelayAgain, startRelayAgain } from "../support/reliability/relay-again.ts";
import { useSite } from "../support/reliability/site.ts";
import { allAnswer, finishAll, openEchoes } from "../support/reliability/streams.ts";

const site = useSite();

const DELAYED_BY_MS = 100;
/** Callers that come meanwhile, and their streams: each is a line of the log, an entry of the audit, a span. */
const CALLERS = 20;
const STREAMS = 20;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Takes connections and says nothing. */
async function startSilent(): Promise<string> {
  const server: Server = createServer((socket) => void socket.on("error", () => undefined).resume()).listen(
    0,
    "127.0.0.1",
  );
  await once(server, "listening");
  ends.push(() => server.close());
  const address = server.address();
  return `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
}

async function startRelayWith(settings: NonNullable<RelayAgain["settings"]>, log: RelayAgain["log"]): Promise<void> {
  ends.push(await startRelayAgain(site(), { settings, log }));
}

/** Callers come and go. @returns the longest time that a byte there and back took meanwhile, milliseconds. */
async function longestPause(scene: string): Promise<number> {
  const pulse = await startPulse(site().link(`pulse: ${scene}`));
  for (let index = 0; index < CALLERS; index += 1) {
    const streams = await openEchoes(site().link(`${scene} ${index}`), STREAMS);
    await allAnswer(streams);
    await finishAll(streams);
  }
  return (await pulse.stop()).longestMs;
}

/** The longest pause of the same callers where all that is observed is taken. */
let calmMs = 0;

/** Nobody takes what the relay observes, and nothing that passes waits for it. */
async function passesMeanwhile(scene: string): Promise<void> {
  const longestMs = await longestPause(scene);
  process.stderr.write(`${scene}: ${Math.round(longestMs)} ms at most, ${Math.round(calmMs)} ms where all is taken\n`);
  await expectWithin(scene, DELAYED_BY_MS, Math.max(0, longestMs - calmMs));
}

describe("no byte waits, and every caller is served, while", () => {
  test("first, all is taken", async () => {
    await startRelayWith({ log: { level: "debug" } }, "ignore");
    calmMs = await longestPause("all is taken");
  });

  test("nobody reads the relay's log", async () => {
    await startRelayWith({ log: { level: "debug" } }, "pipe");
    await passesMeanwhile("the log's reader stops");
  });

  test("the disk of the relay's log is full", async () => {
    const full = openSync("/dev/full", "w");
    await startRelayWith({ log: { level: "debug" } }, full);
    closeSync(full);
    await passesMeanwhile("the log's disk is full");
    const dropped = (await site().relayMetrics()).get("logs_dropped_total");
    expect(dropped).toBeGreaterThan(CALLERS * STREAMS);
  });

  test("the audit's webhook takes what it gets and never answers", async () => {
    const secretFile = join(site().folder, "webhook-secret");
    await writeFile(secretFile, "of the webhook", { mode: 0o600 });
    await startRelayWith({ audit: { webhook: { url: await startSilent(), secretFile } } }, "ignore");
    await passesMeanwhile("the audit's webhook hangs");
  });

  test("the file of the audit is on a full disk", async () => {
    await startRelayWith({ audit: { file: "/dev/full" } }, "ignore");
    await passesMeanwhile("the audit's disk is full");
  });

  test("the collector of traces never answers", async () => {
    await startRelayWith({ tracing: { endpoint: await startSilent() } }, "ignore");
    await passesMeanwhile("the collector hangs");
  });
});
