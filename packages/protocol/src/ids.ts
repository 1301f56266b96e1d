import { ConnectError } from "./errors.ts";

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** Name of a cluster: a DNS label, also the first label of its TLS server name. */
export type ClusterId = Branded<string, "ClusterId">;
/** Identifies one running process (relay, agent replica or CLI) from start to exit. */
export type InstanceId = Branded<string, "InstanceId">;
/** Identifies one session, given by the acceptor in READY. */
export type SessionId = Branded<string, "SessionId">;
/** Identifies one stream within a session; odd from the dialer, even from the acceptor, 0 is the session itself. */
export type StreamId = Branded<number, "StreamId">;
/** Names an agent's public key: base64url SHA-256 of its SubjectPublicKeyInfo. */
export type KeyId = Branded<string, "KeyId">;
/** Follows one stream through every hop's log; made by the CLI, lower-case hex. */
export type CorrelationId = Branded<string, "CorrelationId">;

const CLUSTER_ID = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const OPAQUE_ID = /^[A-Za-z0-9_-]{8,64}$/;
const CORRELATION_ID = /^[0-9a-f]{16,32}$/;

/** @throws ConnectError `CC_CLUSTER_ID_INVALID` unless the value is a DNS label of at most 63 characters. */
export function parseClusterId(value: unknown): ClusterId {
  if (typeof value === "string" && CLUSTER_ID.test(value)) return value as ClusterId;
  throw new ConnectError("CC_CLUSTER_ID_INVALID", "A cluster id has 1 to 63 characters of a-z, 0-9 and -");
}

/** @throws ConnectError `CC_ID_INVALID` unless the value has 8 to 64 characters of base64url. */
export function parseInstanceId(value: unknown): InstanceId {
  return parseOpaque(value, "An instance id") as InstanceId;
}

/** @throws ConnectError `CC_ID_INVALID` unless the value has 8 to 64 characters of base64url. */
export function parseSessionId(value: unknown): SessionId {
  return parseOpaque(value, "A session id") as SessionId;
}

/** @throws ConnectError `CC_ID_INVALID` unless the value has 8 to 64 characters of base64url. */
export function parseKeyId(value: unknown): KeyId {
  return parseOpaque(value, "A key id") as KeyId;
}

/** @throws ConnectError `CC_ID_INVALID` unless the value has 16 to 32 lower-case hex digits. */
export function parseCorrelationId(value: unknown): CorrelationId {
  if (typeof value === "string" && CORRELATION_ID.test(value)) return value as CorrelationId;
  throw new ConnectError("CC_ID_INVALID", "A correlation id has 16 to 32 lower-case hex digits");
}

/** @throws ConnectError `CC_ID_INVALID` unless the value is a whole number from 0 to 2^31 - 1. */
export function parseStreamId(value: unknown): StreamId {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0x7fff_ffff) {
    return value as StreamId;
  }
  throw new ConnectError("CC_ID_INVALID", "A stream id is a whole number from 0 to 2147483647");
}

function parseOpaque(value: unknown, what: string): string {
  if (typeof value === "string" && OPAQUE_ID.test(value)) return value;
  throw new ConnectError("CC_ID_INVALID", `${what} has 8 to 64 characters of A-Z, a-z, 0-9, - and _`);
}
