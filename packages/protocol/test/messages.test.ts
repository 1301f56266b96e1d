import fc from "fast-check";
import { expect, test } from "vitest";
import {
  agentChallengeInput,
  DEFAULT_HELLO_LIMITS,
  decodeAccept,
  decodeHello,
  decodeOpen,
  decodeProbe,
  decodeReady,
  decodeResume,
  decodeResumed,
  encodeHello,
  encodeOpen,
  encodeProbe,
  encodeResume,
  type Hello,
  MAX_CLUSTER_UID_CHARACTERS,
  MAX_FOLLOWED,
  MAX_JSON_BYTES,
  type Open,
  OWN_VERSIONS,
  parseClusterId,
  parseCorrelationId,
  parseInstanceId,
  parseKeyId,
  parseSecret,
  parseSessionId,
  type Resume,
} from "../src/index.ts";

const key = parseSecret("k".repeat(43));
const cluster = parseClusterId("prod");
const instanceId = parseInstanceId("instance-1");

const open: Open = {
  cluster,
  upstream: "kubernetes",
  windowBytes: 262_144,
  key,
  graceMs: 60_000,
  correlationId: parseCorrelationId("00112233445566778899aabbccddeeff"),
  viaPeer: false,
  caller: { issuer: "https://issuer.example", subject: "s", username: "ada", address: "192.0.2.1" },
  sessionId: parseSessionId("session-1"),
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
};

const hello: Hello = {
  versions: OWN_VERSIONS,
  role: "agent",
  instanceId,
  software: "cluster-connect/0.1.0",
  limits: DEFAULT_HELLO_LIMITS,
  challenge: key,
  agent: {
    clusterId: cluster,
    keyId: parseKeyId("B".repeat(43)),
    authority: "relay.example",
    signature: "c",
    follows: [key],
  },
  liveRelays: 3,
};

const resume: Resume = {
  cluster,
  instanceId,
  key,
  attempt: 1,
  received: 10,
  consumed: 7,
  windowBytes: 1,
  viaPeer: true,
};

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

test("a probe's answer reads back the same, and needs every hop", () => {
  const hop = { ok: true, text: "ready" };
  const document = { agent: hop, authProxy: hop, apiserver: { ok: false, text: "refused" } };
  expect(decodeProbe(encodeProbe(document))).toEqual(document);
  expect(() => decodeProbe(json({ agent: hop, authProxy: hop }))).toThrow("apiserver");
});

test("HELLO, OPEN and RESUME read back the same", () => {
  expect(decodeHello(encodeHello(hello))).toEqual(hello);
  expect(decodeOpen(encodeOpen(open))).toEqual(open);
  expect(decodeResume(encodeResume(resume))).toEqual(resume);
  expect(decodeResume(encodeResume({ ...resume, upstream: "db" }))).toEqual({ ...resume, upstream: "db" });
});

test("an agent's HELLO names up to eight killed agents by their secrets, and no more", () => {
  const following = (follows: unknown) => json({ ...hello, agent: { ...hello.agent, follows } });
  const eight = Array.from({ length: MAX_FOLLOWED }, () => key);
  expect(decodeHello(following(eight)).agent?.follows).toEqual(eight);
  expect(decodeHello(following([])).agent?.follows).toEqual([]);
  for (const wrong of [[...eight, key], ["short"], key, [1]]) {
    expect(() => decodeHello(following(wrong))).toThrow("HELLO.agent.follows");
  }
});

test("an agent's HELLO may name its cluster's UID, and nothing else in its place", () => {
  const telling = (clusterUid: unknown) => json({ ...hello, agent: { ...hello.agent, clusterUid } });
  const longest = "0".repeat(MAX_CLUSTER_UID_CHARACTERS);
  expect(decodeHello(telling(longest)).agent?.clusterUid).toBe(longest);
  expect(decodeHello(json(hello)).agent).not.toHaveProperty("clusterUid");
  for (const wrong of ["", `${longest}0`, "a b", null, 7, ["uid"]]) {
    expect(() => decodeHello(telling(wrong))).toThrow("HELLO.agent.clusterUid");
  }
});

test("a field of a later minor version is ignored", () => {
  expect(decodeOpen(json({ ...open, lane: { id: 1 } }))).toEqual(open);
});

test.each([
  ["cluster", "Prod"],
  ["windowBytes", 0],
  ["windowBytes", 1.5],
  ["key", "short"],
  ["graceMs", -1],
  ["correlationId", "XYZ"],
  ["viaPeer", "yes"],
  ["caller", { issuer: "" }],
  ["upstream", ""],
])("an OPEN whose %s is %j is refused by that name", (name, value) => {
  expect(() => decodeOpen(json({ ...open, [name]: value }))).toThrow(`OPEN.${name}`);
});

test("offsets that contradict each other are refused", () => {
  expect(() => decodeResume(json({ ...resume, consumed: 11 }))).toThrow("consumed");
});

test("a key or challenge that is not valid does not appear in the error", () => {
  expect(() => decodeOpen(json({ ...open, key: "nearly-a-secret" }))).not.toThrow("nearly-a-secret");
  expect(() => decodeOpen(json({ ...open, key: "nearly-a-secret" }))).toThrow("32 bytes");
});

test("fields are read from the object itself, not from its prototype", () => {
  const text = '{"__proto__":{"windowBytes":5},"instanceId":"instance-1","graceMs":0}';
  expect(() => decodeAccept(new TextEncoder().encode(text))).toThrow("windowBytes");
});

test("any bytes decode or are CC_FRAME_INVALID, never another error", () => {
  const decoders = [decodeHello, decodeReady, decodeOpen, decodeAccept, decodeResume, decodeResumed, decodeProbe];
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.json().map((text) => new TextEncoder().encode(text)),
  );
  fc.assert(
    fc.property(bytes, fc.constantFrom(...decoders), (input, decode) => {
      try {
        decode(input);
      } catch (error) {
        expect(error).toMatchObject({ code: "CC_FRAME_INVALID" });
      }
    }),
  );
});

test("a JSON payload above the limit is refused", () => {
  expect(() => decodeHello(new Uint8Array(MAX_JSON_BYTES + 1))).toThrow("longer than allowed");
});

test("the agent signs the challenge, both instances, the cluster and the dialed authority, one a line", () => {
  const input = agentChallengeInput({
    challenge: key,
    relayInstanceId: parseInstanceId("relay-01"),
    agentInstanceId: instanceId,
    clusterId: cluster,
    authority: "relay.example:8443",
  });
  expect(new TextDecoder().decode(input)).toBe(
    `clusterconnect.v1 agent\n${key}\nrelay-01\ninstance-1\nprod\nrelay.example:8443`,
  );
});
