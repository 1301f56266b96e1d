import { suspendedBytesOf } from "@cluster-connect/framing";
import { MIN_WINDOW_BYTES } from "@cluster-connect/protocol";
import { z } from "zod";

/** How much of the agent its callers may use. */
export interface AgentLimits {
  /** Streams to upstreams that are open, of all relays. */
  readonly streams: number;
  /** Memory for bytes of streams whose reader is slow, of all relays. */
  readonly bufferMebibytes: number;
  /** Memory for streams that wait for their tunnel. */
  readonly suspendedMebibytes: number;
}

const MEBIBYTE = 1_048_576;
/** As many as a relay lets one cluster have, so that one replica can serve them all. */
const STREAMS = 10_000;

/** Two thousand readers that pause grow the process by no more. */
const BUFFER_MEBIBYTES = 256;

const GIVEN = z.strictObject({
  streams: z.int().min(1).max(1_000_000).optional(),
  bufferMebibytes: z.int().min(1).max(1_048_576).optional(),
  suspendedMebibytes: z.int().min(1).max(1_048_576).optional(),
});

/** The agent's table of limits: every stream that may be opened has its smallest windows, and can wait for its tunnel. */
export const LIMIT_SCHEMA: z.ZodType<AgentLimits> = GIVEN.transform((given, context) => {
  const wanted = given.streams ?? STREAMS;
  const {
    bufferMebibytes = Math.max(BUFFER_MEBIBYTES, mebibytesFor(bufferedBytesOf(wanted))),
    suspendedMebibytes = mebibytesFor(suspendedBytesOf(wanted)),
  } = given;
  const flowing = Math.floor((bufferMebibytes * MEBIBYTE) / bufferedBytesOf(1));
  const waiting = Math.floor((suspendedMebibytes * MEBIBYTE) / suspendedBytesOf(1));
  const streams = given.streams ?? Math.min(STREAMS, flowing, waiting);
  const refuse = (largest: number, lacks: string): void => {
    const message = `expected at most ${largest}: ${lacks}`;
    context.addIssue({ code: "custom", path: ["streams"], message });
  };
  if (streams > flowing) refuse(flowing, "`limits.bufferMebibytes` has no room for the smallest windows of more");
  if (streams > waiting) refuse(waiting, "`limits.suspendedMebibytes` has no room for more without a tunnel");
  return { streams, bufferMebibytes, suspendedMebibytes };
}).prefault({});

/** Bytes of the smallest windows of so many streams, one in each direction. */
function bufferedBytesOf(streams: number): number {
  return streams * 2 * MIN_WINDOW_BYTES;
}

function mebibytesFor(bytes: number): number {
  return Math.ceil(bytes / MEBIBYTE);
}
