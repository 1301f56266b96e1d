import { z } from "zod";
import { CLUSTER_UID_FIELD, FINGERPRINT_FIELD } from "./fields.ts";

const NAMES = z.array(z.string());
const BYTES = { upBytes: z.int(), downBytes: z.int() };

/** Answer of a change that has nothing to show. */
export const DONE = z.object({ done: z.literal(true) });

/** One page of a list; `next` is null with the last one. */
export function pageAnswer<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), next: z.string().nullable() });
}

/** An agent in an {@link ADMIN_CLUSTER}. */
export const ADMIN_AGENT = z.object({
  instanceId: z.string(),
  relayId: z.string(),
  keyId: z.string(),
  since: z.string(),
  probe: z.string(),
});

/** A cluster with all that is known about it, at whichever relay. */
export const ADMIN_CLUSTER = z.object({
  id: z.string(),
  labels: z.record(z.string(), z.string()),
  disabled: z.boolean(),
  status: z.enum(["Connecting", "Connected", "Offline", "Expired"]),
  reason: z.string().nullable(),
  createdAt: z.string(),
  lastSeenAt: z.string().nullable(),
  lastSeenSeconds: z.int().nullable(),
  validKeys: z.int(),
  /** Of the authorities that count. */
  fingerprint: FINGERPRINT_FIELD.nullable(),
  /** Of each certificate that an agent announced and that waits for an administrator. */
  pendingFingerprints: z.array(FINGERPRINT_FIELD),
  pendingSince: z.string().nullable(),
  /** Of the namespace kube-system of the cluster that the name stands for. */
  uid: CLUSTER_UID_FIELD.nullable(),
  /** Of another cluster that claims the name and waits for an administrator. */
  pendingUid: CLUSTER_UID_FIELD.nullable(),
  pendingUidSince: z.string().nullable(),
  agents: z.array(ADMIN_AGENT),
});

/** How many keys and codes went with a cluster. */
export const REMOVED_CLUSTER = DONE.extend({ keys: z.int(), codes: z.int() });

const KEY_STATE = z.enum(["pending", "active", "revoked"]);

/** An agent's key. A pending one is dropped unless an agent uses it in time. */
export const AGENT_KEY = z.object({
  id: z.string(),
  cluster: z.string(),
  createdAt: z.string(),
  addedBy: z.string(),
  state: KEY_STATE,
  activateBy: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});

/** A revoked key's former state, the keys dropped with it, and the keys left that it had let in. */
export const REVOKED_KEY = DONE.extend({ was: KEY_STATE, dropped: NAMES, left: NAMES });

/** An enrollment code, by its id. */
export const ENROLLMENT_CODE = z.object({
  id: z.string(),
  cluster: z.string(),
  createdAt: z.string(),
  createdBy: z.string(),
  expiresAt: z.string(),
  maxUses: z.int(),
  uses: z.int(),
  revokedAt: z.string().nullable(),
});

/** An enrollment code with the code itself, which is shown once. */
export const MADE_CODE = ENROLLMENT_CODE.extend({ code: z.string() });

/** A grant, wherever it was written down. */
export const GRANT = z.object({
  id: z.string(),
  source: z.enum(["config", "file", "api"]),
  clusters: NAMES.optional(),
  clusterSelector: z.string().optional(),
  upstreams: NAMES.optional(),
  users: NAMES.optional(),
  groups: NAMES.optional(),
  servicePrincipals: NAMES.optional(),
  issuer: z.string().optional(),
  condition: z.string().optional(),
  expiresAt: z.string().optional(),
});

/** A caller's session, with what ended streams took of each cluster. */
export const CALLER_SESSION = z.object({
  id: z.string(),
  relayId: z.string(),
  issuer: z.string(),
  subject: z.string(),
  username: z.string(),
  address: z.string().nullable(),
  software: z.string(),
  since: z.string(),
  expiresAt: z.string(),
  updatedAt: z.string(),
  ...BYTES,
  clusters: z.record(z.string(), z.object({ openStreams: z.int(), streams: z.int(), ...BYTES })),
});

/** The actor of an entry: a verified caller, or the name alone of one without a token, such as `operator`. */
const AUDIT_ACTOR = z.object({
  issuer: z.string().nullable(),
  subject: z.string().nullable(),
  username: z.string(),
});

/** An entry of the audit's chain. */
export const AUDIT_ENTRY = z.object({
  sequence: z.int(),
  at: z.string(),
  event: z.string(),
  actor: AUDIT_ACTOR,
  cluster: z.string().nullable(),
  detail: z.record(z.string(), z.unknown()),
  previousHash: z.string(),
  hash: z.string(),
});
