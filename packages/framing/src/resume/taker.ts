import { createHash, timingSafeEqual } from "node:crypto";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import {
  ConnectError,
  type ErrorCode,
  encodeResumed,
  type Resume,
  type Secret,
  UPSTREAM_KUBERNETES,
} from "@cluster-connect/protocol";
import type { AcceptOptions, IncomingStream } from "../stream/incoming.ts";
import type { MuxStream } from "../stream/mux-stream.ts";
import { createEndedStreams } from "./ended-streams.ts";
import { callerName, sameCaller } from "./same-caller.ts";
import { createSuspendedStreams } from "./suspended-streams.ts";
import { TakerStream, type TakerStreamDeps } from "./taker-stream.ts";

/** The taker's side of resume: holds streams by their key, across sessions. */
export interface ResumeRegistry {
  /**
   * Answers an incoming stream: a new one is accepted and kept, a RESUME moves the stream it names to its session.
   *
   * @returns the stream for an OPEN, undefined for a RESUME: its stream goes on where it is used already.
   */
  answer(incoming: IncomingStream, options: AcceptOptions): MuxStream | undefined;
  readonly counters: ResumeCounters;
  /** Bytes that the streams of each caller hold, by {@link callerName}. */
  heldByCaller(): ReadonlyMap<string, number>;
  /** Resets every stream that waits for its opener. */
  close(): void;
  /** Resets every stream, those with a channel too: for a taker that goes away with them. */
  reset(code: ErrorCode, text: string): void;
}

export interface ResumeCounters {
  /** Streams that could be resumed, with and without a channel. */
  readonly streams: number;
  readonly suspended: number;
  /** Bytes kept for sending again, of all streams. */
  readonly retainedBytes: number;
}

/** Bytes of all streams that wait for their opener, by default. Callers that open and leave cost no more. */
const MAX_SUSPENDED_BYTES = 268_435_456;

export interface ResumeRegistryOptions {
  /**
   * Bytes that all streams that wait for their opener may hold. For one more, the oldest stream of the caller that
   * holds the most ends. So no caller keeps others from coming back. The new stream ends itself where its caller holds
   * as much as any.
   */
  readonly maxSuspendedBytes?: number;
}

export function createResumeRegistry(
  options: ResumeRegistryOptions = {},
  deps: { readonly clock: Clock } = { clock: SYSTEM_CLOCK },
): ResumeRegistry {
  const { maxSuspendedBytes = MAX_SUSPENDED_BYTES } = options;
  // By the digest of the key, so that looking one up takes no longer for a guess that is nearly right.
  const streams = new Map<string, TakerStream>();
  const ended = createEndedStreams(deps);
  const suspended = createSuspendedStreams(maxSuspendedBytes);
  const streamDeps: TakerStreamDeps = {
    clock: deps.clock,
    maySuspend: suspended.makeRoom,
    onSuspended: suspended.add,
    onEnded(stream, error) {
      suspended.remove(stream);
      streams.delete(stream.terms.digest);
      ended.add(stream.terms, error);
    },
  };

  function accept(incoming: IncomingStream, options: AcceptOptions): MuxStream {
    const { request } = incoming;
    if (request.kind !== "open") throw new ConnectError("CC_INTERNAL", "A RESUME is not accepted");
    const { key, cluster, upstream, caller, graceMs: wanted } = request.open;
    const graceMs = Math.min(options.graceMs ?? 0, wanted);
    const digest = digestOf(key).toString("base64");
    // A key that is used twice would let one stream take over the other.
    if (streams.has(digest)) throw new ConnectError("CC_PROTOCOL", "The stream's key was used before");
    const stream = incoming.accept(options);
    if (graceMs === 0 || stream.destroyed) return stream;
    const entry = new TakerStream(stream, { digest, cluster, upstream, caller, graceMs }, streamDeps);
    streams.set(digest, entry);
    stream.keeper = entry;
    return stream;
  }

  function resume(incoming: IncomingStream, wanted: Resume): void {
    const digest = digestOf(wanted.key);
    const name = digest.toString("base64");
    const entry = streams.get(name);
    if (entry === undefined || !timingSafeEqual(Buffer.from(entry.terms.digest, "base64"), digest)) {
      const past = ended.find(name);
      if (past === undefined || !sameCaller(past.caller, wanted.caller)) throw unknown();
      if (past.error === undefined) throw new ConnectError("CC_STREAM_FINISHED", "Both directions had ended");
      // Not refused: some codes of a refusal ask the opener to come again.
      if (!incoming.gaveUp) incoming.fail(past.error);
      return;
    }
    const { endpoint } = entry.stream;
    const { caller, cluster, upstream } = entry.terms;
    // The relay has judged the grant by the names in the RESUME.
    const isSameWay = cluster === wanted.cluster && upstream === (wanted.upstream ?? UPSTREAM_KUBERNETES);
    const known = sameCaller(caller, wanted.caller) && isSameWay;
    if (!known || endpoint.state === "closed") throw unknown();
    if (wanted.attempt <= entry.attempt) throw new ConnectError("CC_SUPERSEDED", "A newer RESUME came before");
    if (incoming.gaveUp) return;
    try {
      endpoint.checkResume(wanted);
    } catch (error) {
      entry.stream.reset("CC_RESUME_GAP", "The opener goes on from a byte that is not held");
      throw error;
    }
    entry.resumed(wanted.attempt);
    suspended.remove(entry);
    endpoint.detach("CC_SUPERSEDED", "The stream goes on over a newer channel");
    const { host, streamId } = incoming.adopt(endpoint);
    endpoint.resumed(host, streamId, wanted, (own) => host.send("RESUMED", streamId, [encodeResumed(own)]));
  }

  return {
    answer(incoming, options) {
      const { request } = incoming;
      try {
        if (request.kind === "open") return accept(incoming, options);
        resume(incoming, request.resume);
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        incoming.reject(error.code, error.message);
      }
      return undefined;
    },
    get counters() {
      let retainedBytes = 0;
      for (const { stream } of streams.values()) retainedBytes += stream.endpoint.retainedBytes;
      return { streams: streams.size, suspended: suspended.size, retainedBytes };
    },
    heldByCaller: () => heldByCaller(streams.values()),
    reset(code, text) {
      for (const { stream } of [...streams.values()]) stream.reset(code, text);
    },
    close() {
      for (const { stream } of suspended.list()) stream.reset("CC_SESSION_CLOSED", "The agent stops");
      ended.clear();
    },
  };
}

function heldByCaller(streams: Iterable<TakerStream>): ReadonlyMap<string, number> {
  const held = new Map<string, number>();
  for (const { stream, terms } of streams) {
    const name = callerName(terms.caller);
    held.set(name, (held.get(name) ?? 0) + stream.endpoint.retainedBytes + stream.endpoint.unreadBytes);
  }
  return held;
}

/** Missing, or another caller's: not told apart, so that a guess learns nothing. */
function unknown(): ConnectError {
  return new ConnectError("CC_RESUME_UNKNOWN", "No such stream is held here");
}

function digestOf(key: Secret): Buffer {
  return createHash("sha256").update(key).digest();
}
