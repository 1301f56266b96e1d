import { randomBytes } from "node:crypto";
import { parseSecret, SECRET_BYTES, type Secret } from "@cluster-connect/protocol";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { createSlabPool, type SlabPool } from "./slab-pool.ts";

/** The effects of a session. */
export interface SessionDeps {
  readonly clock: Clock;
  /** A fresh secret from a cryptographic source: stream keys and challenges. */
  readonly secret: () => Secret;
  /** Memory for what streams hold; by default all sessions of a process share it. */
  readonly slabs: SlabPool;
}

/** The machine's own clock and randomness. */
export const SYSTEM_SESSION_DEPS: SessionDeps = {
  clock: SYSTEM_CLOCK,
  secret: () => parseSecret(randomBytes(SECRET_BYTES).toString("base64url")),
  slabs: createSlabPool(),
};
