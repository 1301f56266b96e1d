import { once } from "node:events";
import { copyFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createSessionDeps } from "@cluster-connect/framing";
import { parseCorrelationId, parseSessionId } from "@cluster-connect/protocol";
import { createHealth, createInstanceId, createMetrics, type Environment, type Health } from "@cluster-connect/service";
import { createMemoryLogger, type MemoryLogger } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { onTestFinished } from "vitest";
import { type RunningAgent, startAgent } from "../../src/agent.ts";
import type { AgentConfig } from "../../src/config.ts";
import { LIMIT_SCHEMA } from "../../src/limits.ts";
import type { UpstreamAddress } from "../../src/streams/upstream-address.ts";
import type { TestRelay } from "./test-relay.ts";

/** A config whose auth proxy is a socket in a folder of its own; nothing listens there yet. */
export async function configFor(
  relay: Pick<TestRelay, "url">,
  change: Partial<AgentConfig> = {},
): Promise<AgentConfig> {
  const folder = await temporaryFolder();
  const authoritiesFile = join(folder, "ca.crt");
  await copyFile(join(import.meta.dirname, "authority.pem"), authoritiesFile);
  return {
    relay: { urls: [relay.url], tunnels: 1 },
    code: "cc1-test",
    stateDir: join(folder, "state"),
    authProxy: {
      address: { kind: "socket", path: join(folder, "proxy.sock") },
      healthUrl: new URL("http://127.0.0.1:1/readyz"),
      authoritiesFile,
    },
    upstreams: {},
    resumeGraceSeconds: 30,
    drainSeconds: 5,
    limits: LIMIT_SCHEMA.parse({}),
    log: { level: "debug" },
    ...change,
  };
}

export interface StartedAgent {
  readonly agent: RunningAgent;
  readonly log: MemoryLogger;
  readonly health: Health;
}

export async function startTestAgent(
  config: AgentConfig,
  {
    log = createMemoryLogger(),
    env = {},
    keyWatch = { intervalMs: 60_000 },
  }: {
    readonly log?: MemoryLogger;
    readonly env?: Environment;
    readonly keyWatch?: { readonly intervalMs: number };
  } = {},
): Promise<StartedAgent> {
  const health = createHealth();
  const agent = await startAgent(
    config,
    { signal: new AbortController().signal, keyWatch },
    {
      instance: { instanceId: createInstanceId(), follows: [] },
      software: "agent/test",
      env,
      health,
      log,
      metrics: createMetrics({ service: "agent" }),
      clock: SYSTEM_CLOCK,
      random: () => 0.01,
      sessionDeps: createSessionDeps(),
    },
  );
  onTestFinished(() => agent.close());
  return { agent, log, health };
}

/** Listens as the auth proxy of a config would; hands out each connection. */
export async function listenAsProxy(config: AgentConfig, serve: (socket: Socket) => void): Promise<void> {
  const { address } = config.authProxy;
  if (address.kind !== "socket") throw new Error("the auth proxy of this config is no socket");
  const server = createServer({ allowHalfOpen: true }, serve).listen(address.path);
  await once(server, "listening");
  onTestFinished(() => void server.close());
}

/** The same on a TCP port of its own. */
export async function listenTcp(serve: (socket: Socket) => void): Promise<{ readonly address: UpstreamAddress }> {
  const server = createServer({ allowHalfOpen: true }, serve).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return { address: { kind: "tcp", host: "127.0.0.1", port: portOf(server.address()) } };
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** A port that speaks HTTP and answers every request with this. */
export async function listenHttp(answer: () => { readonly status: number; readonly body: string }): Promise<URL> {
  const server = createHttpServer((_request, response) => {
    const { status, body } = answer();
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return new URL(`http://127.0.0.1:${portOf(server.address())}/readyz`);
}

/** The part of OPEN that a relay writes. */
export const CALLER = { issuer: "https://login.test", subject: "jane", username: "oidc:jane", address: "198.51.100.7" };
export const CORRELATION_ID = parseCorrelationId("0123456789abcdef");
export const SESSION_ID = parseSessionId("session-of-jane");
