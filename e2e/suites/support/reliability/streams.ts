import { randomBytes } from "node:crypto";
import type { MuxStream } from "@cluster-connect/framing";
import { expect } from "vitest";
import type { RawLink } from "../../../src/faults/raw-link.ts";
import { NO_END } from "../stack.ts";
import { answers } from "../transport.ts";
import { ECHO } from "./site.ts";

const SAID_BYTES = 100;

/** Opens so many streams to the echo, and hears an answer in each. */
export async function openEchoes(link: RawLink, count: number): Promise<readonly MuxStream[]> {
  const streams: MuxStream[] = [];
  for (let index = 0; index < count; index += 1) streams.push(await openOne(link));
  await allAnswer(streams);
  return streams;
}

async function openOne(link: RawLink): Promise<MuxStream> {
  const stream = await link.open(ECHO, { signal: NO_END });
  stream.on("error", () => undefined);
  await stream.accepted;
  return stream;
}

/** Says something in each stream and hears exactly that; none was lost. */
export async function allAnswer(streams: readonly MuxStream[]): Promise<void> {
  await Promise.all(streams.map((stream) => answers(stream, randomBytes(SAID_BYTES))));
}

/** Ends them all; each finishes. */
export async function finishAll(streams: readonly MuxStream[]): Promise<void> {
  for (const stream of streams) stream.resume().end();
  const ends = await Promise.all(streams.map((stream) => stream.done));
  expect(ends.filter(({ kind }) => kind !== "finished")).toEqual([]);
}
