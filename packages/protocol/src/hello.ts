import { type ClusterUid, parseClusterUid } from "./agent/cluster-uid.ts";
import { parseSecret, type Secret } from "./agent/secret.ts";
import { ConnectError } from "./errors.ts";
import { decodeFields, encodeFields, type Fields } from "./fields.ts";
import {
  type ClusterId,
  type InstanceId,
  type KeyId,
  parseClusterId,
  parseInstanceId,
  parseKeyId,
  parseSessionId,
  type SessionId,
} from "./ids.ts";
import { HOP_ACK_EVERY_BYTES, MAX_FOLLOWED, MAX_STREAMS, MAX_WINDOW_BYTES } from "./limits.ts";
import { MINOR_VERSION, type MinorRange, OLDEST_MINOR_VERSION } from "./version.ts";

/** The kind of a process; a relay is `relay` to its dialers and `peer` to another relay it dials. */
export type Role = "cli" | "agent" | "relay" | "peer";
const ROLES: readonly Role[] = ["cli", "agent", "relay", "peer"];

/** Limits that one side sets for the other in this session. */
export interface HelloLimits {
  /** Streams the peer may have open at once. */
  readonly maxStreams: number;
  /** Largest receive window this side will announce, bytes. */
  readonly maxWindowBytes: number;
  /** DATA bytes after which the peer is asked to send HOPACK. */
  readonly hopAckEveryBytes: number;
}

/** How an agent proves which cluster it serves. */
export interface AgentProof {
  readonly clusterId: ClusterId;
  readonly keyId: KeyId;
  /** The authority (host or host:port, lower case) the agent dialed. */
  readonly authority: string;
  /** Ed25519 signature over {@link agentChallengeInput}, base64url. */
  readonly signature: string;
  /** PEM of the authorities that may sign the cluster's serving certificate; the relay hands it to callers. */
  readonly clusterAuthorities?: string;
  /** The cluster's own UID, where its auth proxy may read it. The relay takes one cluster under a name. */
  readonly clusterUid?: ClusterUid;
  /** Secrets of killed processes whose place this one took: their streams are over. */
  readonly follows?: readonly Secret[];
}

/** First message of each side; the acceptor sends its own as soon as the channel is open. */
export interface Hello {
  readonly versions: MinorRange;
  readonly role: Role;
  readonly instanceId: InstanceId;
  /** Product and version, for logs only. */
  readonly software: string;
  readonly limits: HelloLimits;
  /** Acceptor only: fresh random bytes that an agent signs. */
  readonly challenge?: Secret;
  /** Agents only. */
  readonly agent?: AgentProof;
  /** Relays only: how many relays take streams under the name that was dialed, this one included. */
  readonly liveRelays?: number;
}

/** The acceptor's last message of the handshake: the dialer's identity holds, the session is open. */
export interface Ready {
  readonly sessionId: SessionId;
  /** Minor version both sides speak from here on. */
  readonly minor: number;
}

export const DEFAULT_HELLO_LIMITS: HelloLimits = {
  maxStreams: MAX_STREAMS,
  maxWindowBytes: MAX_WINDOW_BYTES,
  hopAckEveryBytes: HOP_ACK_EVERY_BYTES,
};

export const OWN_VERSIONS: MinorRange = { minor: MINOR_VERSION, oldestMinor: OLDEST_MINOR_VERSION };

const MAX_LIVE_RELAYS = 1_000_000;

/** JSON payload of HELLO. */
export function encodeHello(hello: Hello): Uint8Array {
  return encodeFields(hello);
}

/** @throws ConnectError `CC_FRAME_INVALID` naming the first field that is missing or wrong. */
export function decodeHello(bytes: Uint8Array): Hello {
  const fields = decodeFields(bytes, "HELLO");
  const versions = required(fields, "versions");
  const limits = required(fields, "limits");
  const challenge = fields.optionalParsed("challenge", parseSecret);
  const agent = fields.object("agent");
  const liveRelays = fields.optionalInteger("liveRelays", 1, MAX_LIVE_RELAYS);
  return {
    versions: { minor: versions.integer("minor", 0, 65_535), oldestMinor: versions.integer("oldestMinor", 0, 65_535) },
    role: fields.parsed("role", parseRole),
    instanceId: fields.parsed("instanceId", parseInstanceId),
    software: fields.string("software", 128),
    limits: {
      maxStreams: limits.integer("maxStreams", 0, 1_048_576),
      maxWindowBytes: limits.integer("maxWindowBytes", 1, 0x7fff_ffff),
      hopAckEveryBytes: limits.integer("hopAckEveryBytes", 1, 0x7fff_ffff),
    },
    ...(challenge === undefined ? {} : { challenge }),
    ...(agent === undefined ? {} : { agent: agentProof(agent) }),
    ...(liveRelays === undefined ? {} : { liveRelays }),
  };
}

/** JSON payload of READY. */
export function encodeReady(ready: Ready): Uint8Array {
  return encodeFields(ready);
}

/** @throws ConnectError `CC_FRAME_INVALID` naming the first field that is missing or wrong. */
export function decodeReady(bytes: Uint8Array): Ready {
  const fields = decodeFields(bytes, "READY");
  return { sessionId: fields.parsed("sessionId", parseSessionId), minor: fields.integer("minor", 0, 65_535) };
}

/**
 * The bytes an agent signs. They are a fixed label, the challenge, the relay's and the agent's instance ids, the
 * cluster and the dialed authority, one a line. The authority keeps a hostile relay from passing the challenge on.
 */
export function agentChallengeInput(parts: {
  readonly challenge: Secret;
  readonly relayInstanceId: InstanceId;
  readonly agentInstanceId: InstanceId;
  readonly clusterId: ClusterId;
  readonly authority: string;
}): Uint8Array {
  const { challenge, relayInstanceId, agentInstanceId, clusterId, authority } = parts;
  const lines = ["clusterconnect.v1 agent", challenge, relayInstanceId, agentInstanceId, clusterId, authority];
  return new TextEncoder().encode(lines.join("\n"));
}

function agentProof(fields: Fields): AgentProof {
  const clusterAuthorities = fields.optionalString("clusterAuthorities", 12_288);
  const clusterUid = fields.optionalParsed("clusterUid", parseClusterUid);
  const follows = fields.optionalParsed("follows", parseFollows);
  return {
    clusterId: fields.parsed("clusterId", parseClusterId),
    keyId: fields.parsed("keyId", parseKeyId),
    authority: fields.string("authority", 300),
    signature: fields.string("signature", 128),
    ...(clusterAuthorities === undefined ? {} : { clusterAuthorities }),
    ...(clusterUid === undefined ? {} : { clusterUid }),
    ...(follows === undefined ? {} : { follows }),
  };
}

function parseFollows(value: unknown): readonly Secret[] {
  if (Array.isArray(value) && value.length <= MAX_FOLLOWED) return value.map(parseSecret);
  throw new ConnectError("CC_FRAME_INVALID", `An agent follows at most ${MAX_FOLLOWED} others`);
}

function parseRole(value: unknown): Role {
  const role = ROLES.find((known) => known === value);
  if (role !== undefined) return role;
  throw new ConnectError("CC_FRAME_INVALID", `A role is one of ${ROLES.join(", ")}`);
}

function required(fields: Fields, name: string): Fields {
  const found = fields.object(name);
  if (found !== undefined) return found;
  throw new ConnectError("CC_FRAME_INVALID", `HELLO.${name} is missing`);
}
