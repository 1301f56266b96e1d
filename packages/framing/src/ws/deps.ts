import { randomBytes } from "node:crypto";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";

/** The effects of a channel over a socket. */
export interface WebSocketDeps {
  readonly clock: Clock;
  /** Bytes from a cryptographic source: the key of an upgrade, and of each message that is masked. */
  readonly randomBytes: (length: number) => Uint8Array;
}

/** The machine's own clock and randomness. */
export const SYSTEM_WEB_SOCKET_DEPS: WebSocketDeps = { clock: SYSTEM_CLOCK, randomBytes };
