import { expect, test } from "vitest";
import { CLUSTERS_ANSWER, ENROLLED_KEY, LOGIN, pageAnswer, REFUSAL, RELAY_INFO } from "../src/index.ts";

const LOGIN_SETTINGS = {
  issuer: "https://issuer.example.com",
  clientId: "cli",
  scopes: ["openid"],
  audiences: { relay: "relay", cluster: "clusters" },
  resourceParameter: "resource",
};

test("a reader drops fields that it does not know, so that a newer relay may say more", () => {
  const info = { relayId: "r", software: "relay/9", login: { ...LOGIN_SETTINGS, later: 1 }, later: true };
  expect(RELAY_INFO.parse(info)).toEqual({ relayId: "r", software: "relay/9", login: LOGIN_SETTINGS });
});

test.each([
  ["an issuer that is no address", { issuer: "issuer" }],
  ["an issuer of another protocol", { issuer: "file:///etc/passwd" }],
  ["an empty client", { clientId: "" }],
  ["an empty audience", { audiences: { relay: "", cluster: "clusters" } }],
  ["an unknown way to name an audience", { resourceParameter: "aud" }],
])("login settings with %s are refused", (_what, change) => {
  expect(LOGIN.safeParse({ ...LOGIN_SETTINGS, ...change }).success).toBe(false);
});

test.each([
  ["an id that is no cluster's", { id: "Prod" }],
  ["a server name with a line break", { serverName: "prod.example\n" }],
  ["a state that does not exist", { status: "fine" }],
  ["a signature that is none", { authoritySignatures: "\u001b[2J" }],
  ["a UID that is none", { pendingUid: "\u001b[2J" }],
  ["nine signatures", { authoritySignatures: Array.from({ length: 9 }, () => "a".repeat(86)).join(" ") }],
])("a cluster with %s is refused", (_what, change) => {
  const cluster = {
    id: "prod",
    status: "connected",
    since: null,
    lastSeenAt: null,
    lastSeenSeconds: null,
    reason: null,
    agents: [],
    certificateAuthorities: null,
    authoritySignatures: null,
    fingerprint: null,
    pendingFingerprint: null,
    pendingUid: null,
    serverName: "prod.clusters.example",
  };
  expect(CLUSTERS_ANSWER.safeParse({ clusters: [cluster] }).success).toBe(true);
  expect(CLUSTERS_ANSWER.safeParse({ clusters: [{ ...cluster, ...change }] }).success).toBe(false);
});

test("an enrolled key has a cluster's id and a key's id", () => {
  const enrolled = { clusterId: "prod", keyId: "abcdefgh", relayId: "r" };
  expect(ENROLLED_KEY.safeParse(enrolled).success).toBe(true);
  expect(ENROLLED_KEY.safeParse({ ...enrolled, clusterId: "no id" }).success).toBe(false);
  expect(ENROLLED_KEY.safeParse({ ...enrolled, keyId: "short" }).success).toBe(false);
});

test("a refusal's message ends at 4,096 characters", () => {
  const refusal = (length: number): unknown => ({ code: "CC_INTERNAL", message: "x".repeat(length) });
  expect(REFUSAL.safeParse(refusal(4_096)).success).toBe(true);
  expect(REFUSAL.safeParse(refusal(4_097)).success).toBe(false);
});

test("a page without its end is refused", () => {
  expect(pageAnswer(REFUSAL).safeParse({ items: [] }).success).toBe(false);
});
