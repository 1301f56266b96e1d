import {
  type AuthenticationConfigOptions,
  createClaimMapper,
  createTokenVerifier,
  fetchDocument,
  parseAuthenticationConfiguration,
  SIGNATURE_ALGORITHMS,
  type TokenVerifier,
  type TrustedIssuer,
  type VerifierOptions,
} from "@cluster-connect/auth";
import { startTestIssuer, type TestIssuer, type TestIssuerOptions } from "@cluster-connect/auth/testing";
import type { ConnectError, ErrorCode } from "@cluster-connect/protocol";
import { expect } from "vitest";

/** The audience every verifier here expects. */
export const AUDIENCE = "cluster-connect";

/** A clock that stands still until a test moves it. */
interface TestClock {
  now: () => number;
  advance(ms: number): void;
}

function testClock(): TestClock {
  let now = Date.now();
  return {
    now: () => now,
    advance(ms) {
      now += ms;
    },
  };
}

export interface Fixture {
  readonly issuer: TestIssuer;
  readonly clock: TestClock;
  readonly verifier: TokenVerifier;
  verify(token: string): ReturnType<TokenVerifier["verify"]>;
}

/** A test issuer and a verifier that trusts it. */
export async function createFixture(
  options: TestIssuerOptions & { trusted?: Partial<TrustedIssuer>; verifier?: VerifierOptions } = {},
): Promise<Fixture & AsyncDisposable> {
  const issuer = await startTestIssuer(options);
  const clock = testClock();
  const trusted = trust(issuer, options.trusted);
  const verifier = createTokenVerifier([trusted], options.verifier ?? {}, { fetchDocument, now: clock.now });
  return {
    issuer,
    clock,
    verifier,
    verify: (token) => verifier.verify(token, { signal: AbortSignal.timeout(10_000) }),
    [Symbol.asyncDispose]: () => issuer[Symbol.asyncDispose](),
  };
}

/** A test issuer behind a configuration file: rules as lines below `jwt[0]`, mappings as lines below `claimMappings`. */
export async function configFixture(
  rules: string,
  mappings = 'username: { claim: sub, prefix: "test:" }',
  options: AuthenticationConfigOptions = {},
): Promise<Fixture & AsyncDisposable> {
  const issuer = await startTestIssuer();
  const text = configuration(issuer.url, rules, mappings);
  const { issuers } = parseAuthenticationConfiguration(text, { allowInsecureLoopback: true, ...options });
  const clock = testClock();
  const verifier = createTokenVerifier(issuers, {}, { fetchDocument, now: clock.now });
  return {
    issuer,
    clock,
    verifier,
    verify: (token) => verifier.verify(token, { signal: AbortSignal.timeout(10_000) }),
    [Symbol.asyncDispose]: () => issuer[Symbol.asyncDispose](),
  };
}

export function configuration(url: string, rules = "", mappings = 'username: { claim: sub, prefix: "test:" }'): string {
  return `
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
  - issuer: { url: "${url}", audiences: ["${AUDIENCE}"] }${rules}
    claimMappings:
      ${mappings}
`;
}

/** JSON in base64url, as in a token's parts. */
export function encodePart(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function trust(issuer: TestIssuer, changes: Partial<TrustedIssuer> = {}): TrustedIssuer {
  return {
    url: issuer.url,
    audiences: [AUDIENCE],
    algorithms: SIGNATURE_ALGORITHMS,
    allowInsecureLoopback: true,
    map: createClaimMapper({
      username: { claim: "sub", prefix: "test:" },
      groups: { claim: "groups", prefix: "test:" },
    }),
    ...changes,
  };
}

/** Expects a rejection with this code whose message has these words and shows nothing of the token. */
export async function expectRejection(
  attempt: Promise<unknown>,
  code: ErrorCode,
  words: RegExp,
  token = "",
): Promise<void> {
  const error: ConnectError = await attempt.then(
    () => expect.fail("the token was accepted"),
    (reason) => reason,
  );
  expect(error).toMatchObject({ name: "ConnectError", code });
  expect(error.message).toMatch(words);
  expect(error.message).not.toContain("\n");
  for (const part of token.split(".").filter((text) => text.length > 8)) expect(error.message).not.toContain(part);
}
