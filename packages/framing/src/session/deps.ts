import { randomBytes } from "node:crypto";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { parseSecret, SECRET_BYTES, type Secret } from "@cluster-connect/protocol";
import { createSlabPool, type SlabPool } from "../bytes/slab-pool.ts";

/** The effects of a session. */
export interface SessionDeps {
  readonly clock: Clock;
  /** A fresh secret from a cryptographic source: stream keys and challenges. */
  readonly secret: () => Secret;
  /** Memory for the streams' bytes; all sessions of a process share it. */
  readonly slabs: SlabPool;
}

/** 32 bytes from the machine's cryptographic source. */
export function createSecret(): Secret {
  return parseSecret(randomBytes(SECRET_BYTES).toString("base64url"));
}

/** The machine's own clock and randomness, and slabs for the sessions that are given the same deps. */
export function createSessionDeps(): SessionDeps {
  return { clock: SYSTEM_CLOCK, secret: createSecret, slabs: createSlabPool() };
}
