import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generateAgentKey, mintEnrollmentCode, signChallenge } from "@cluster-connect/auth";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { createSessionDeps, dialSession, type IncomingStream, type Session } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import {
  type AgentProof,
  agentChallengeInput,
  type ClusterId,
  type Hello,
  parseClusterId,
  parseCorrelationId,
  type SessionId,
} from "@cluster-connect/protocol";
import { createInstanceId, createMetrics } from "@cluster-connect/service";
import { createMemoryLogger, type MemoryLogger } from "@cluster-connect/service/testing";
import { freePort, temporaryFolder } from "@cluster-connect/testkit";
import { onTestFinished } from "vitest";
import type { RelayConfig } from "../../src/config.ts";
import type { GrantSpec } from "../../src/grants/grant.ts";
import { createRelayIds } from "../../src/ids.ts";
import { LIMIT_SCHEMA } from "../../src/quota/limit-settings.ts";
import { type RelayDeps, type RunningRelay, startRelay } from "../../src/relay.ts";
import { createVerifier } from "../../src/serve.ts";
import { placeInFolder } from "../../src/store/open/place.ts";
import { addEnrollmentCode } from "../../src/store/queries/enrollment-codes.ts";
import { openStore, type Store } from "../../src/store/store.ts";

const AUDIENCE = "https://relay.test";
export const PROD: ClusterId = parseClusterId("prod");
const CORRELATION_ID = parseCorrelationId("0123456789abcdef");

/** PEM files beside this one. */
export const pem = (name: string): string => readFileSync(join(import.meta.dirname, `${name}.pem`), "utf8");

export interface Fixture {
  readonly url: URL;
  readonly relay: RunningRelay;
  readonly store: Store;
  readonly issuer: TestIssuer;
  readonly log: MemoryLogger;
  readonly dataDir: string;
  /** Trusts this issuer alone from now on. */
  readonly trust: (issuer: TestIssuer) => Promise<void>;
  /** Reads the file of trusted issuers again. */
  readonly reload: () => Promise<void>;
  readonly config: RelayConfig;
  /** Ends the relay as a crash would: no GOAWAY of its own making is waited for. */
  stop(): Promise<void>;
}

export interface FixtureOptions {
  readonly grants?: readonly GrantSpec[];
  readonly config?: Partial<RelayConfig>;
  /** A former fixture whose data folder, port and issuer are used again. */
  readonly after?: Fixture;
  /** A fixture that runs, whose store and issuer are shared. */
  readonly beside?: Fixture;
  readonly clock?: Clock;
  readonly openFileLimit?: RelayDeps["openFileLimit"];
}

/** A relay with a real store, sockets and issuer; members of the group `ops` may reach every cluster. */
export async function startFixture(options: FixtureOptions = {}): Promise<Fixture> {
  const former = options.after ?? options.beside;
  const issuer = former?.issuer ?? (await startTestIssuer());
  const dataDir = former?.dataDir ?? (await temporaryFolder());
  const url = options.after?.url ?? new URL(`http://127.0.0.1:${await freePort()}`);
  const config: RelayConfig = {
    listen: { host: "127.0.0.1", port: Number(url.port) },
    publicUrl: url,
    dataDir,
    authenticationConfig: join(dataDir, "authentication.json"),
    allowInsecureLoopbackIssuer: true,
    admins: [{ users: ["root"], access: "write" }],
    grants: options.grants ?? [{ clusters: ["*"], groups: ["ops"] }],
    login: undefined,
    trustedProxies: [],
    probe: { intervalSeconds: 0.1, timeoutSeconds: 2 },
    drainSeconds: 5,
    storeOutageSeconds: 900,
    agents: { policy: "alert" },
    audit: { whenFull: "block", maxBehind: 100_000 },
    limits: LIMIT_SCHEMA.parse({}),
    log: { level: "info" },
    ...options.config,
  };
  const log = createMemoryLogger();
  await writeFile(config.authenticationConfig, authentication(issuer));
  const verifier = await createVerifier(config, { env: {} });
  const reload = (): Promise<void> => verifier.reload({ signal: AbortSignal.timeout(10_000) });
  const trust = async (other: TestIssuer): Promise<void> => {
    await writeFile(config.authenticationConfig, authentication(other));
    await reload();
  };
  const store = options.beside?.store ?? (await openStore(placeInFolder(dataDir), new Date()));
  const relay = await startRelay(config, {
    instanceId: createInstanceId(),
    software: "relay/test",
    store,
    verifier,
    metrics: createMetrics({ service: "relay" }),
    log,
    clock: options.clock ?? SYSTEM_CLOCK,
    random: Math.random,
    ids: createRelayIds(randomBytes),
    sessionDeps: createSessionDeps(),
    openFileLimit: options.openFileLimit,
  });
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= relay.close().then(() => (options.beside === undefined ? store.close() : undefined));
    return stopped;
  };
  onTestFinished(async () => {
    await stop();
    if (options.beside === undefined) await issuer.stop();
  });
  return { url, relay, store, issuer, log, dataDir, trust, reload, config, stop };
}

function authentication(issuer: TestIssuer): string {
  return JSON.stringify({
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [
      {
        issuer: { url: issuer.url, audiences: [AUDIENCE] },
        claimMappings: { username: { claim: "sub", prefix: "" }, groups: { claim: "groups", prefix: "" } },
      },
    ],
  });
}

/** A token of the fixture's issuer for the relay, of a member of `ops`. */
export function opsToken(fixture: Fixture, claims: Readonly<Record<string, unknown>> = {}): Promise<string> {
  return fixture.issuer.sign({ aud: AUDIENCE, sub: "jane", groups: ["ops"], ...claims });
}

/** Dials as a CLI; the session's handshake has not finished yet. */
export async function dialCli(
  fixture: Fixture,
  token: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Session> {
  const channel = await dialWebSocket(new URL("/v1/connect", fixture.url), {
    signal: AbortSignal.timeout(10_000),
    headers: { authorization: `Bearer ${token}`, ...headers },
  });
  const session = dialSession(channel, { role: "cli", instanceId: createInstanceId(), software: "cli/test" });
  onTestFinished(() => session.close());
  return session;
}

export interface TestAgent {
  readonly instanceId: ReturnType<typeof createInstanceId>;
  readonly key: ReturnType<typeof generateAgentKey>;
}

/** Enrolls a key as `prod`, in the store itself. */
export async function enrollAgent(fixture: Fixture, clusterId: ClusterId = PROD): Promise<TestAgent> {
  const key = generateAgentKey();
  const { code, hash } = mintEnrollmentCode();
  await addEnrollmentCode(fixture.store.db, { clusterId, hash, expiresAt: new Date(Date.now() + 60_000) }, new Date());
  const response = await postEnroll(fixture, { code, publicKey: key.publicKey, clusterAuthorities: pem("authority") });
  if (response.status !== 200) throw new Error(await response.text());
  return { instanceId: createInstanceId(), key };
}

export function postEnroll(fixture: Fixture, body: unknown): Promise<Response> {
  const headers = { "content-type": "application/json" };
  return fetch(new URL("/v1/enroll", fixture.url), { method: "POST", headers, body: JSON.stringify(body) });
}

export interface AgentOptions {
  readonly onStream?: (incoming: IncomingStream) => void;
  /** Changes the proof before it is sent. */
  readonly tamper?: (proof: AgentProof, hello: Hello) => AgentProof;
  /** Gives each probe's answer; `undefined` answers nothing. */
  readonly health?: () => unknown;
}

export const HEALTHY = {
  agent: { ok: true, text: "running" },
  authProxy: { ok: true, text: "ready" },
  apiserver: { ok: true, text: "ok" },
};

/** Dials as an agent; it answers probes, and echoes other streams. */
export async function dialAgent(fixture: Fixture, agent: TestAgent, options: AgentOptions = {}): Promise<Session> {
  const channel = await dialWebSocket(new URL("/v1/agent", fixture.url), { signal: AbortSignal.timeout(10_000) });
  const { instanceId, key } = agent;
  const session = dialSession(channel, {
    role: "agent",
    instanceId,
    software: "agent/test",
    prove: async (hello) => {
      const { challenge } = hello;
      if (challenge === undefined) throw new Error("no challenge");
      const authority = fixture.url.host;
      const proof: AgentProof = {
        clusterId: PROD,
        keyId: key.keyId,
        authority,
        signature: signChallenge(
          key,
          agentChallengeInput({
            challenge,
            relayInstanceId: hello.instanceId,
            agentInstanceId: instanceId,
            clusterId: PROD,
            authority,
          }),
        ),
        clusterAuthorities: pem("authority"),
      };
      return options.tamper?.(proof, hello) ?? proof;
    },
    onStream: (incoming) => {
      const { request } = incoming;
      if (request.kind === "open" && request.open.upstream === "probe") {
        const answer = (options.health ?? (() => HEALTHY))();
        if (answer !== undefined) incoming.accept({ instanceId }).resume().end(JSON.stringify(answer));
      } else if (options.onStream !== undefined) {
        options.onStream(incoming);
      } else {
        const stream = incoming.accept({ instanceId });
        stream.pipe(stream);
      }
    },
  });
  onTestFinished(() => session.close());
  return session;
}

/** An OPEN request for these tests, with changes. */
export const openRequest = (
  change: {
    readonly cluster?: ClusterId;
    readonly upstream?: string;
    readonly sessionId?: SessionId;
    readonly viaPeer?: boolean;
  } = {},
) => ({
  cluster: PROD,
  upstream: "kubernetes",
  correlationId: CORRELATION_ID,
  ...change,
});
