import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { MuxStream } from "@cluster-connect/framing";
import { describe, expect, test } from "vitest";
import { patternBytes } from "../../src/faults/pattern.ts";
import { ECHO, SOURCE, useSite } from "../support/reliability/site.ts";
import { NO_END } from "../support/stack.ts";

/** Limits are the default ones, but for how fast a caller may open. */
const site = useSite({ relayLimits: { opensPerSecondPerCaller: 2_000 } });

const BYTES = 131_072;
const PAUSE_MS = 10_000;
const MEBIBYTE = 1_048_576;
/** Growth of relay and agent each, while nobody reads: `limits.bufferMebibytes` of an agent, and each stream's objects. */
const BUFFER_MIB = 256;
const STREAM_MIB = 1 / 32;
/** Streams that are opened at once: a listener has room for a few hundred connections that wait. */
const OPENED_AT_ONCE = 100;

async function bytesOf(stream: MuxStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

function askFor(bytes: number): Buffer {
  const asked = Buffer.alloc(4);
  asked.writeUInt32BE(bytes);
  return asked;
}

const residentMib = (metrics: ReadonlyMap<string, number>): number =>
  (metrics.get("process_resident_memory_bytes") ?? Number.NaN) / MEBIBYTE;

// First what costs the most, so that no process has memory of an earlier scene.
describe.each([
  [2_000, 20],
  [2_000, 1],
  [700, 1],
])("%d readers of %d callers pause for 10 s", (count, callers) => {
  const downloads: MuxStream[] = [];
  const uploads: { readonly stream: MuxStream; readonly sent: Buffer }[] = [];

  test("nothing is cut meanwhile, and memory stays bounded", async () => {
    const { relayMetrics, agentMetrics, link } = site();
    const before = [residentMib(await relayMetrics()), residentMib(await agentMetrics())];
    const links = Array.from({ length: callers }, (_, index) => link(`reader-${count}-${callers}-${index}`));
    for (let index = 0; index < count; index += 1) {
      const isDownload = index % (2 * callers) < callers;
      const caller = links[index % callers] ?? link();
      const stream = await caller.open(isDownload ? SOURCE : ECHO, { signal: NO_END });
      stream.on("error", () => undefined);
      const sent = isDownload ? askFor(BYTES) : randomBytes(BYTES);
      if (isDownload) downloads.push(stream);
      else uploads.push({ stream, sent });
      stream.end(sent);
      if (index % OPENED_AT_ONCE === 0) await stream.accepted;
    }
    await Promise.all([...downloads, ...uploads.map(({ stream }) => stream)].map(({ accepted }) => accepted));
    await delay(PAUSE_MS);
    const after = [residentMib(await relayMetrics()), residentMib(await agentMetrics())];
    const grown = after.map((mib, index) => Math.round(mib - (before[index] ?? 0)));
    process.stderr.write(
      `${count} paused readers of ${callers}: relay grew by ${grown[0]} MiB, agent by ${grown[1]} MiB\n`,
    );
    for (const mib of grown) expect(mib).toBeLessThan(BUFFER_MIB + count * STREAM_MIB);
  });

  test("each gets every byte afterwards", async () => {
    const whole = patternBytes(BYTES);
    const [got, back] = await Promise.all([
      Promise.all(downloads.map(bytesOf)),
      Promise.all(uploads.map(({ stream }) => bytesOf(stream))),
    ]);
    expect(got.filter((bytes) => !bytes.equals(whole))).toEqual([]);
    expect(back.filter((bytes, index) => !bytes.equals(uploads[index]?.sent ?? whole))).toEqual([]);
    expect(got.length + back.length).toBe(count);
  });
});
