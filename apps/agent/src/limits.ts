import { suspendedBytesOf } from "@cluster-connect/framing";
import { z } from "zod";

/** How much of the agent its callers may use. */
export interface AgentLimits {
  /** Streams to upstreams that are open, of all relays. */
  readonly streams: number;
  /** Memory for streams that wait for their tunnel. */
  readonly suspendedMebibytes: number;
}

const MEBIBYTE = 1_048_576;
/** As many as a relay lets one cluster have, so that one replica can serve them all. */
const STREAMS = 10_000;

const GIVEN = z.strictObject({
  streams: z.int().min(1).max(1_000_000).optional(),
  suspendedMebibytes: z.int().min(1).max(1_048_576).optional(),
});

/** The agent's table of limits: every stream that may be opened can also wait for its tunnel. */
export const LIMIT_SCHEMA: z.ZodType<AgentLimits> = GIVEN.transform((given, context) => {
  const { suspendedMebibytes = mebibytesFor(given.streams ?? STREAMS) } = given;
  const largest = Math.floor((suspendedMebibytes * MEBIBYTE) / suspendedBytesOf(1));
  const streams = given.streams ?? Math.min(STREAMS, largest);
  if (streams > largest) {
    const message = `expected at most ${largest}: \`limits.suspendedMebibytes\` has no room for more without a tunnel`;
    context.addIssue({ code: "custom", path: ["streams"], message });
  }
  return { streams, suspendedMebibytes };
}).prefault({});

function mebibytesFor(streams: number): number {
  return Math.ceil(suspendedBytesOf(streams) / MEBIBYTE);
}
