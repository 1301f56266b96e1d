import type { Clock } from "@cluster-connect/base";
import { ConnectError, type ErrorCode } from "@cluster-connect/protocol";
import type { MuxStream } from "../../stream/mux-stream.ts";
import type { SeededRandom } from "./random.ts";

/** One end of a stream as its user sees it. */
export interface FlowEnd {
  readonly stream: MuxStream;
  /** Bytes that were read, in pieces. */
  readonly read: Buffer[];
  sawEnd: boolean;
}

/**
 * One stream from end to end, with the bytes that are to pass it. A stream that was opened again has had several
 * takers.
 */
export interface Flow {
  readonly up: Buffer;
  readonly down: Buffer;
  readonly far: FlowEnd[];
  near: FlowEnd | undefined;
  /** The opener gave it up before it had a session. */
  givenUp: boolean;
  /** One of its users broke it off, or wanted to. */
  brokenOff: boolean;
}

export interface FlowDeps {
  readonly clock: Clock;
  readonly random: SeededRandom;
}

const RESET_CODES = ["CC_CANCELLED", "CC_STREAM_RESET", "CC_UPSTREAM_UNREACHABLE"] as const;
const LONG_PAUSE_MS = 10_000;
const RESET_WITHIN_MS = 8_000;

export function createFlow(random: SeededRandom): Flow {
  return { up: payload(random), down: payload(random), far: [], near: undefined, givenUp: false, brokenOff: false };
}

function payload(random: SeededRandom): Buffer {
  return random.bytes(random.pick([0, 1, random.integer(1, 2_000), random.integer(1, 600_000)]));
}

/** Uses one end of a flow: writes at random times, reads now and then slowly, and in few cases breaks off. */
export function useEnd(stream: MuxStream, flow: Flow, written: Buffer, deps: FlowDeps): FlowEnd {
  const end: FlowEnd = { stream, read: [], sawEnd: false };
  readFrom(end, deps);
  writeTo(stream, written, deps);
  const { random, clock } = deps;
  if (random.chance(0.1)) {
    const code = random.pick(RESET_CODES);
    flow.brokenOff = true;
    clock.setTimer(random.integer(0, RESET_WITHIN_MS), () =>
      stream.reset(code, "The side behind the stream broke off"),
    );
  }
  return end;
}

function writeTo(stream: MuxStream, written: Buffer, { random, clock }: FlowDeps): void {
  let offset = 0;
  // Some streams are over in a moment, some are there through most of the faults.
  const pauseMs = random.pick([0, 500, 6_000]);
  const writeNext = (): void => {
    if (stream.destroyed) return;
    if (offset >= written.length) {
      stream.end();
      return;
    }
    const chunk = written.subarray(offset, offset + random.integer(1, 100_000));
    offset += chunk.length;
    stream.write(chunk, () => {
      if (random.chance(0.5)) writeNext();
      else clock.setTimer(random.integer(0, pauseMs), writeNext);
    });
  };
  if (random.chance(0.5)) writeNext();
  else clock.setTimer(random.integer(0, pauseMs), writeNext);
}

function readFrom(end: FlowEnd, { random, clock }: FlowDeps): void {
  const { stream } = end;
  const lent = random.chance(0.5);
  if (lent) stream.lend();
  const pausesLong = random.chance(0.1);
  stream.on("data", (chunk: Buffer) => {
    end.read.push(lent ? Buffer.from(chunk) : chunk);
    if (lent) stream.giveBack(chunk.length);
    const pauseMs = pausesLong && end.read.length === 1 ? LONG_PAUSE_MS : random.integer(1, 3_000);
    if (random.chance(0.05) || pauseMs === LONG_PAUSE_MS) {
      stream.pause();
      clock.setTimer(pauseMs, () => stream.resume());
    }
  });
  stream.on("end", () => {
    end.sawEnd = true;
  });
}

/** Whether everything passed, both ways. */
export function finished({ near, far }: Flow): boolean {
  return near?.sawEnd === true && far.some((end) => end.sawEnd);
}

/** How the stream broke the law, in words; undefined when it did not. */
export function breach(flow: Flow): string | undefined {
  const { near, far, up, down } = flow;
  if (near === undefined) return flow.givenUp ? undefined : "was never opened";
  const ends = [
    { end: near, name: "opener", written: down },
    ...far.map((end, index) => ({ end, name: `taker ${index + 1}`, written: up })),
  ];
  for (const { end, name, written } of ends) {
    const read = Buffer.concat(end.read);
    if (!read.equals(written.subarray(0, read.length))) return `gave its ${name} other bytes than were written`;
    if (end.sawEnd && read.length < written.length) return `ended for its ${name} after ${read.length} bytes`;
    if (!end.stream.destroyed) return `has not ended for its ${name}`;
    if (end.stream.errored === null && !finished(flow)) return `was reset, and its ${name} did not learn of it`;
  }
  return undefined;
}

/** Ends of a stream whose agent went. */
const AGENT_WENT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CC_AGENT_REPLACED",
  "CC_RESUME_EXPIRED",
  "CC_RESUME_UNKNOWN",
  "CC_SESSION_CLOSED",
  "CC_CHANNEL_LOST",
]);

/**
 * The end of a stream that had no cause, in words. A stream that was answered goes on past every fault, unless a user
 * broke it off or its agent went.
 */
export function causeless(flow: Flow, { agentsWent }: { readonly agentsWent: boolean }): string | undefined {
  const { near } = flow;
  if (near?.stream.answer === undefined || flow.brokenOff || finished(flow)) return undefined;
  const { errored } = near.stream;
  const code = errored instanceof ConnectError ? errored.code : "CC_INTERNAL";
  return agentsWent && AGENT_WENT.has(code) ? undefined : `ended with ${code} without a cause`;
}

export function bytesRead({ near, far }: Flow): number {
  const ends = near === undefined ? far : [near, ...far];
  return ends.reduce((sum, { read }) => sum + read.reduce((bytes, chunk) => bytes + chunk.length, 0), 0);
}
