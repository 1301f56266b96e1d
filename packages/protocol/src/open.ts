import { parseSecret, type Secret } from "./agent/secret.ts";
import { decodeFields, encodeFields, type Fields } from "./fields.ts";
import {
  type ClusterId,
  type CorrelationId,
  type InstanceId,
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
  parseSessionId,
  type SessionId,
} from "./ids.ts";
import { INITIAL_WINDOW_BYTES } from "./limits.ts";

/** Where the agent takes a stream: the auth proxy, its own health answer, or another upstream it is configured for. */
export const UPSTREAM_KUBERNETES = "kubernetes";
export const UPSTREAM_PROBE = "probe";

/** The opener of a stream, as the relay verified it; set by the relay, refused from a CLI. */
export interface Caller {
  readonly issuer: string;
  readonly subject: string;
  readonly username: string;
  /** Network address as the relay saw it, without a port. */
  readonly address?: string;
}

/** OPEN: the opener wants a stream. DATA may follow at once, up to `unaskedBytes`. */
export interface Open {
  readonly cluster: ClusterId;
  readonly upstream: string;
  /** The opener's receive window. */
  readonly windowBytes: number;
  /** Bytes that the opener may send before it has an answer; `INITIAL_WINDOW_BYTES` where it is absent. */
  readonly unaskedBytes?: number;
  /** Secret that a later RESUME shows; made by the opener for this stream alone. */
  readonly key: Secret;
  /** How long the opener would keep the stream without a channel; 0 for not at all. */
  readonly graceMs: number;
  readonly correlationId: CorrelationId;
  readonly caller?: Caller;
  /** The caller's session at the relay. */
  readonly sessionId?: SessionId;
  /** Set by a relay that passes the stream to its peer; such a stream is not passed on again. */
  readonly viaPeer: boolean;
  /** W3C trace context, when tracing is on. */
  readonly traceparent?: string;
}

/** ACCEPT: the stream is open at the agent. */
export interface Accept {
  readonly windowBytes: number;
  /** The agent replica that holds the stream; a RESUME goes there. */
  readonly instanceId: InstanceId;
  /** The shorter of both sides' wishes; 0: the stream ends with its channel. */
  readonly graceMs: number;
}

/** Offsets that both ends tell about a stream that moves to a new channel; FIN counts as one byte in every offset. */
export interface Offsets {
  /** Bytes received in order so far: the peer goes on from here. */
  readonly received: number;
  /** Bytes the consumer took: the peer may forget those below. */
  readonly consumed: number;
  readonly windowBytes: number;
}

/** RESUME: the opener moves a stream to this session under a new stream id. */
export interface Resume extends Offsets {
  readonly cluster: ClusterId;
  /** As in the stream's OPEN; absent for `kubernetes`. */
  readonly upstream?: string;
  readonly instanceId: InstanceId;
  readonly key: Secret;
  /** Counts up with each RESUME of a stream, so that a late one does not undo a newer. */
  readonly attempt: number;
  readonly caller?: Caller;
  readonly viaPeer: boolean;
}

/** RESUMED: the agent goes on with the stream here. */
export type Resumed = Offsets;

export function encodeOpen(open: Open): Uint8Array {
  return encodeFields(open);
}

/** @throws ConnectError `CC_FRAME_INVALID` naming the first field that is missing or wrong. */
export function decodeOpen(bytes: Uint8Array): Open {
  const fields = decodeFields(bytes, "OPEN");
  const caller = callerOf(fields);
  const sessionId = fields.optionalParsed("sessionId", parseSessionId);
  const traceparent = fields.optionalString("traceparent", 128);
  const unaskedBytes = fields.optionalInteger("unaskedBytes", 0, INITIAL_WINDOW_BYTES);
  return {
    cluster: fields.parsed("cluster", parseClusterId),
    upstream: fields.string("upstream", 63),
    windowBytes: windowBytes(fields),
    key: fields.parsed("key", parseSecret),
    graceMs: graceMs(fields),
    correlationId: fields.parsed("correlationId", parseCorrelationId),
    viaPeer: fields.boolean("viaPeer", false),
    ...(caller === undefined ? {} : { caller }),
    ...(sessionId === undefined ? {} : { sessionId }),
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(unaskedBytes === undefined ? {} : { unaskedBytes }),
  };
}

/** The bytes that the opener of a stream may send before it has an answer. */
export function unaskedBytesOf({ unaskedBytes = INITIAL_WINDOW_BYTES }: Pick<Open, "unaskedBytes">): number {
  return unaskedBytes;
}

export function encodeAccept(accept: Accept): Uint8Array {
  return encodeFields(accept);
}

/** @throws ConnectError `CC_FRAME_INVALID` naming the first field that is missing or wrong. */
export function decodeAccept(bytes: Uint8Array): Accept {
  const fields = decodeFields(bytes, "ACCEPT");
  return {
    windowBytes: windowBytes(fields),
    instanceId: fields.parsed("instanceId", parseInstanceId),
    graceMs: graceMs(fields),
  };
}

export function encodeResume(resume: Resume): Uint8Array {
  return encodeFields(resume);
}

/** @throws ConnectError `CC_FRAME_INVALID` naming the first field that is missing or wrong. */
export function decodeResume(bytes: Uint8Array): Resume {
  const fields = decodeFields(bytes, "RESUME");
  const caller = callerOf(fields);
  const upstream = fields.optionalString("upstream", 63);
  return {
    ...offsetsOf(fields),
    cluster: fields.parsed("cluster", parseClusterId),
    instanceId: fields.parsed("instanceId", parseInstanceId),
    key: fields.parsed("key", parseSecret),
    attempt: fields.integer("attempt", 1, 0x7fff_ffff),
    viaPeer: fields.boolean("viaPeer", false),
    ...(upstream === undefined ? {} : { upstream }),
    ...(caller === undefined ? {} : { caller }),
  };
}

export function encodeResumed(resumed: Resumed): Uint8Array {
  return encodeFields(resumed);
}

/** @throws ConnectError `CC_FRAME_INVALID` naming the first field that is missing or wrong. */
export function decodeResumed(bytes: Uint8Array): Resumed {
  return offsetsOf(decodeFields(bytes, "RESUMED"));
}

function offsetsOf(fields: Fields): Offsets {
  const received = fields.integer("received", 0, Number.MAX_SAFE_INTEGER);
  return { received, consumed: fields.integer("consumed", 0, received), windowBytes: windowBytes(fields) };
}

function windowBytes(fields: Fields): number {
  return fields.integer("windowBytes", 1, 0x7fff_ffff);
}

function graceMs(fields: Fields): number {
  return fields.integer("graceMs", 0, 86_400_000);
}

function callerOf(fields: Fields): Caller | undefined {
  const caller = fields.object("caller");
  if (caller === undefined) return undefined;
  const address = caller.optionalString("address", 64);
  return {
    issuer: caller.string("issuer", 2_048),
    subject: caller.string("subject", 1_024),
    username: caller.string("username", 1_024),
    ...(address === undefined ? {} : { address }),
  };
}
