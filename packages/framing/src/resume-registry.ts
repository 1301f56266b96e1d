import { createHash, timingSafeEqual } from "node:crypto";
import {
  type Caller,
  ConnectError,
  type ErrorCode,
  encodeResumed,
  type Resume,
  type Secret,
} from "@cluster-connect/protocol";
import { type Clock, SYSTEM_CLOCK, type Timer } from "./clock.ts";
import { type HeldDeps, type HeldFor, HeldStream } from "./held-stream.ts";
import type { AcceptOptions, IncomingStream } from "./incoming.ts";
import type { MuxStream } from "./stream.ts";

/** The taker's side of resume: holds streams by their key, across sessions. */
export interface ResumeRegistry {
  /**
   * Answers an incoming stream: a new one is accepted and kept, a RESUME moves the stream it names to its session.
   *
   * @returns the stream for an OPEN, undefined for a RESUME: its stream goes on where it is used already.
   */
  answer(incoming: IncomingStream, options: AcceptOptions): MuxStream | undefined;
  readonly counters: ResumeCounters;
  /** Resets every stream that waits for its opener. */
  close(): void;
  /** Resets every stream, those with a channel too: for who goes away with them. */
  reset(code: ErrorCode, text: string): void;
}

export interface ResumeCounters {
  /** Streams that could be resumed, with and without a channel. */
  readonly streams: number;
  readonly suspended: number;
  /** Bytes kept for sending again, of all streams. */
  readonly retainedBytes: number;
}

/** Streams that wait for their opener at once, unless configured otherwise: a peer that opens and leaves costs no more. */
const MAX_SUSPENDED = 1_024;
/** How many streams that are over are remembered, so that a late RESUME learns how they ended. */
const MAX_ENDED = 4_096;

interface Ended {
  readonly caller: Caller | undefined;
  readonly error: ConnectError | undefined;
  readonly timer: Timer;
}

export interface ResumeRegistryOptions {
  /**
   * Streams that wait for their opener at once. For one more the oldest of the caller that has the most ends, so that
   * nobody keeps others from coming back; it ends itself where its caller has as many as any.
   */
  readonly maxSuspended?: number;
}

export function createResumeRegistry(
  options: ResumeRegistryOptions = {},
  deps: { readonly clock: Clock } = { clock: SYSTEM_CLOCK },
): ResumeRegistry {
  const { maxSuspended = MAX_SUSPENDED } = options;
  // By the digest of the key, so that looking one up takes no longer for a guess that is nearly right.
  const held = new Map<string, HeldStream>();
  const ended = new Map<string, Ended>();
  const suspended = new Set<HeldStream>();
  const heldDeps: HeldDeps = {
    clock: deps.clock,
    maySuspend: (stream) => suspended.size < maxSuspended || makeRoom(stream),
    onSuspended: (stream) => suspended.add(stream),
    onEnded(stream, error) {
      suspended.delete(stream);
      held.delete(stream.heldFor.digest);
      remember(stream.heldFor, error);
    },
  };

  /** @returns false when nobody has more than the stream's caller would have. */
  function makeRoom(stream: HeldStream): boolean {
    const byCaller = Map.groupBy(suspended, ({ heldFor }) => callerName(heldFor.caller));
    const own = byCaller.get(callerName(stream.heldFor.caller))?.length ?? 0;
    const [most] = [...byCaller.values()].toSorted((a, b) => b.length - a.length);
    const [oldest] = most ?? [];
    if (most === undefined || oldest === undefined || most.length <= own + 1) return false;
    oldest.stream.reset("CC_LIMIT_REACHED", "Too many streams wait for their openers, most of them this caller's");
    return true;
  }

  function accept(incoming: IncomingStream, options: AcceptOptions): MuxStream {
    const { request } = incoming;
    if (request.kind !== "open") throw new ConnectError("CC_INTERNAL", "A RESUME is not accepted");
    const { key, cluster, caller, graceMs: wanted } = request.open;
    const graceMs = Math.min(options.graceMs ?? 0, wanted);
    const digest = digestOf(key).toString("base64");
    // A key that is used twice would let one stream take over the other.
    if (held.has(digest)) throw new ConnectError("CC_PROTOCOL", "The stream's key was used before");
    const stream = incoming.accept(options);
    if (graceMs === 0 || stream.destroyed) return stream;
    const entry = new HeldStream(stream, { digest, cluster, caller, graceMs }, heldDeps);
    held.set(digest, entry);
    stream.keeper = entry;
    return stream;
  }

  function remember({ digest, caller, graceMs }: HeldFor, error: ConnectError | undefined): void {
    const oldest = ended.size >= MAX_ENDED ? ended.entries().next().value : undefined;
    if (oldest !== undefined) {
      oldest[1].timer.cancel();
      ended.delete(oldest[0]);
    }
    const timer = deps.clock.setTimer(graceMs, () => ended.delete(digest));
    ended.set(digest, { caller, error, timer });
  }

  function resume(incoming: IncomingStream, wanted: Resume): void {
    const digest = digestOf(wanted.key);
    const name = digest.toString("base64");
    const entry = held.get(name);
    if (entry === undefined || !timingSafeEqual(Buffer.from(entry.heldFor.digest, "base64"), digest)) {
      const past = ended.get(name);
      if (past === undefined || !sameCaller(past.caller, wanted.caller)) throw unknown();
      throw past.error ?? new ConnectError("CC_STREAM_FINISHED", "Both directions had ended");
    }
    const { endpoint } = entry.stream;
    const { caller, cluster } = entry.heldFor;
    const known = sameCaller(caller, wanted.caller) && cluster === wanted.cluster;
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
    suspended.delete(entry);
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
      for (const { stream } of held.values()) retainedBytes += stream.endpoint.retainedBytes;
      return { streams: held.size, suspended: suspended.size, retainedBytes };
    },
    reset(code, text) {
      for (const { stream } of [...held.values()]) stream.reset(code, text);
    },
    close() {
      for (const { stream } of [...suspended]) stream.reset("CC_SESSION_CLOSED", "The agent stops");
      for (const { timer } of ended.values()) timer.cancel();
      ended.clear();
    },
  };
}

/** Missing, or somebody else's: not told apart, so that a guess learns nothing. */
function unknown(): ConnectError {
  return new ConnectError("CC_RESUME_UNKNOWN", "No such stream is held here");
}

function digestOf(key: Secret): Buffer {
  return createHash("sha256").update(key).digest();
}

function callerName(caller: Caller | undefined): string {
  return JSON.stringify([caller?.issuer, caller?.subject]);
}

function sameCaller(a: Caller | undefined, b: Caller | undefined): boolean {
  return a?.issuer === b?.issuer && a?.subject === b?.subject;
}
