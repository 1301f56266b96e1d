import { expect } from "vitest";
import { ALICE, type Fixture, OWN_TOKEN } from "../support/fixture.ts";
import { type RawAnswer, requestText, sendRaw } from "../support/raw-client.ts";
import { namesOf, type Recorded, valuesOf } from "../support/recording-upstream.ts";

/** The two ways a request comes: an ordinary one, and one that asks for an upgrade. */
export const WAYS = ["plain", "upgrade"] as const;
export type Way = (typeof WAYS)[number];

export interface Attack {
  /** Header lines beside Host and Authorization. */
  readonly headers: readonly string[];
  readonly target?: string;
  readonly method?: string;
  readonly body?: string;
  /** Protocol of an upgrade. */
  readonly protocol?: string;
}

/** Sends an attack with alice's token and returns the answer. */
export async function attack(fixture: Fixture, way: Way, { headers, ...rest }: Attack): Promise<RawAnswer> {
  const { method = "GET", target = "/api/v1/pods", body = "", protocol = "websocket" } = rest;
  const upgrade = [
    "Connection: Upgrade",
    `Upgrade: ${protocol}`,
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: eA==",
  ];
  const all = [
    "Host: localhost",
    `Authorization: Bearer ${await fixture.token()}`,
    ...(way === "upgrade" ? upgrade : []),
    ...headers,
  ];
  return sendRaw(fixture.target, requestText(`${method} ${target} HTTP/1.1`, all, body));
}

/** Expects that the apiserver saw nothing and the caller was told why. */
export function expectRefused(fixture: Fixture, answer: RawAnswer, status: number): void {
  expect(fixture.upstream.requests).toEqual([]);
  expect(answer.status).toBe(status);
}

/** Expects that the apiserver saw exactly alice, by our own credential. */
export function expectOurIdentity(fixture: Fixture): Recorded {
  const [recorded, ...more] = fixture.upstream.requests;
  expect(more).toEqual([]);
  if (recorded === undefined) return expect.fail("the apiserver saw no request");
  assertOurIdentity(recorded);
  return recorded;
}

/** A caller as the apiserver has to see them. */
export interface Identity {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
}

const OURS: Identity = { username: ALICE, uid: "alice", groups: ["dev", "ops"] };

/** The same about one request, or about another caller's. */
export function assertOurIdentity(recorded: Recorded, { username, uid, groups }: Identity = OURS): void {
  expect(valuesOf(recorded, "authorization")).toEqual([`Bearer ${OWN_TOKEN}`]);
  expect(valuesOf(recorded, "impersonate-user")).toEqual([username]);
  expect(valuesOf(recorded, "impersonate-uid")).toEqual([uid]);
  expect(valuesOf(recorded, "impersonate-group")).toEqual(groups);
  const own = ["authorization", "impersonate-user", "impersonate-uid", "impersonate-group", "audit-id"];
  const others = namesOf(recorded).filter((name) => isIdentity(name) && !own.includes(name));
  for (const name of others)
    expect(name).toMatch(/^impersonate-extra-connect\.example\.org%2f(issuer|subject|cluster)$/);
}

/** Written anew here, so that a mistake in the code under test is not repeated by its test. */
function isIdentity(name: string): boolean {
  const dashed = name.replaceAll("_", "-").toLowerCase();
  const prefixes = ["impersonate", "x-remote", "x-forwarded", "forwarded", "x-real-ip", "audit-id"];
  return dashed.includes("authorization") || prefixes.some((prefix) => dashed.startsWith(prefix));
}
