import { type KeyObject, sign, verify } from "node:crypto";
import { type ClusterId, ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { parseJson } from "../json.ts";
import type { SeenRevocations } from "../settings/pinned-relays.ts";
import { type FleetKey, textOf } from "./fleet-key.ts";

/** An authority that is not to be trusted any more. */
export interface RevokedAuthority {
  readonly cluster: string;
  /** SHA-256 of its public key. */
  readonly authorityKey: string;
}

/** A list of them, signed by the fleet key; each list replaces the one before. */
export interface Revocations {
  /** The fleet key's public half. */
  readonly key: string;
  /** One more with each list. */
  readonly serial: number;
  readonly issuedAt: string;
  readonly revoked: readonly RevokedAuthority[];
}

const MAX_REVOKED = 10_000;
const LIST = z.object({
  key: z.string().max(64),
  serial: z.int().min(1),
  issuedAt: z.string().max(40),
  revoked: z.array(z.object({ cluster: z.string().max(63), authorityKey: z.string().max(95) })).max(MAX_REVOKED),
  signature: z.string().max(128),
});

/** The file of a new list. */
export function formatRevocations(list: Omit<Revocations, "key">, key: KeyObject): string {
  const own = { key: textOf(key), ...list };
  const signature = sign(null, statement(own), key).toString("base64url");
  return `${JSON.stringify({ ...own, signature }, undefined, 2)}\n`;
}

/**
 * Reads a list.
 *
 * @throws ConnectError `CC_REVOCATIONS_REFUSED` for a text that is no list, or is not signed by this key.
 */
export function parseRevocations(text: string, where: string, key: FleetKey): Revocations {
  const parsed = LIST.safeParse(parseJson(text));
  if (!parsed.success) throw refusedList(where, "is no list of revocations");
  const { signature, ...list } = parsed.data;
  if (list.key !== key.text) throw refusedList(where, "is the list of another fleet key");
  if (!verify(null, statement(list), key.publicKey, Buffer.from(signature, "base64url"))) {
    throw refusedList(where, "is not signed by the fleet key: it was changed");
  }
  return list;
}

/** @throws ConnectError `CC_REVOCATIONS_REFUSED` for a list that is older than the last one that was seen. */
export function requireNewer(list: Revocations, seen: SeenRevocations | undefined, where: string): void {
  if (seen === undefined || list.serial > seen.serial) return;
  const isSame = JSON.stringify(list.revoked) === JSON.stringify(seen.revoked);
  if (list.serial === seen.serial && isSame) return;
  if (list.serial === seen.serial) throw refusedList(where, `has the number ${list.serial}, as another list had`);
  throw refusedList(where, `is older than the last one that was seen: number ${list.serial} after ${seen.serial}`);
}

/** Whether an authority was taken back. */
export function isRevoked(revoked: readonly RevokedAuthority[], cluster: ClusterId, authorityKey: string): boolean {
  return revoked.some((one) => one.cluster === cluster && one.authorityKey === authorityKey);
}

function statement({ serial, issuedAt, revoked }: Omit<Revocations, "key">): Buffer {
  const body = JSON.stringify([serial, issuedAt, revoked.map(({ cluster, authorityKey }) => [cluster, authorityKey])]);
  return Buffer.from(`cluster-connect fleet revocations v1\n${body}\n`);
}

function refusedList(where: string, what: string): ConnectError {
  return new ConnectError("CC_REVOCATIONS_REFUSED", `${where} ${what}`);
}
