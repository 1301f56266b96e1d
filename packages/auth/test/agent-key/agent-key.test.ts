import { createHash, generateKeyPairSync } from "node:crypto";
import {
  generateAgentKey,
  parseAgentKey,
  parseAgentPublicKey,
  signChallenge,
  verifyChallenge,
} from "@cluster-connect/auth";
import { agentChallengeInput, parseClusterId, parseInstanceId, parseSecret } from "@cluster-connect/protocol";
import { expect, test } from "vitest";

const parts = {
  challenge: parseSecret("a".repeat(43)),
  relayInstanceId: parseInstanceId("relay-0001"),
  agentInstanceId: parseInstanceId("agent-0001"),
  clusterId: parseClusterId("one"),
  authority: "relay.example.com",
};

test("a signed challenge is verified with the stored public key", () => {
  const key = generateAgentKey();
  const signature = signChallenge(key, agentChallengeInput(parts));
  expect(() =>
    verifyChallenge(parseAgentPublicKey(key.publicKey), agentChallengeInput(parts), signature),
  ).not.toThrow();
});

test.each([
  { challenge: parseSecret("b".repeat(43)) },
  { relayInstanceId: parseInstanceId("relay-0002") },
  { agentInstanceId: parseInstanceId("agent-0002") },
  { clusterId: parseClusterId("two") },
  { authority: "evil.example.com" },
])("a signature does not carry over to %j", (change) => {
  const key = generateAgentKey();
  const signature = signChallenge(key, agentChallengeInput(parts));
  const input = agentChallengeInput({ ...parts, ...change });
  expect(() => verifyChallenge(key, input, signature)).toThrow(
    expect.objectContaining({ code: "CC_CHALLENGE_FAILED" }),
  );
});

test("another key's signature, an empty and a padded one are refused", () => {
  const key = generateAgentKey();
  const input = agentChallengeInput(parts);
  const genuine = signChallenge(key, input);
  for (const signature of [signChallenge(generateAgentKey(), input), "", `${genuine}==`, genuine.slice(1), "é"]) {
    expect(() => verifyChallenge(key, input, signature)).toThrow(
      expect.objectContaining({ code: "CC_CHALLENGE_FAILED" }),
    );
  }
});

test("a key is named by the hash of its public half and comes back from its PEM", () => {
  const key = generateAgentKey();
  const spki = Buffer.from(key.publicKey, "base64url");
  expect(key.keyId).toBe(createHash("sha256").update(spki).digest("base64url"));
  expect(parseAgentKey(key.privateKeyPem)).toEqual(key);
  expect(parseAgentPublicKey(key.publicKey)).toEqual({ keyId: key.keyId, publicKey: key.publicKey });
});

test("keys of another kind and other texts are refused without being shown", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2_048 });
  const x25519 = generateKeyPairSync("x25519");
  const pems = [rsa, x25519].map((pair) => pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  const ders = [rsa, x25519].map((pair) =>
    pair.publicKey.export({ type: "spki", format: "der" }).toString("base64url"),
  );
  for (const pem of [...pems, "", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]) {
    expect(() => parseAgentKey(pem)).toThrow(expect.objectContaining({ code: "CC_AGENT_KEY_REFUSED" }));
    expect(() => signChallenge({ privateKeyPem: pem }, new Uint8Array())).toThrow(/not an Ed25519 key in PEM$/);
  }
  for (const value of [...ders, "", 7, undefined, "AAAA", "é", "A".repeat(10_000)]) {
    expect(() => parseAgentPublicKey(value)).toThrow(expect.objectContaining({ code: "CC_AGENT_KEY_REFUSED" }));
  }
});
