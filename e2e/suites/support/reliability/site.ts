import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { afterAll, beforeAll } from "vitest";
import { createAuthority } from "../../../src/cluster/control-plane/certificates.ts";
import { startEcho } from "../../../src/faults/echo.ts";
import { type FaultProxy, startFaultProxy } from "../../../src/faults/fault-proxy.ts";
import { readMetrics } from "../../../src/faults/metrics.ts";
import { type RawLink, startRawLink } from "../../../src/faults/raw-link.ts";
import { freePort } from "../../../src/process/free-port.ts";
import { type Keeper, startKeeper } from "../../../src/process/keeper.ts";
import { type Agent, startAgent } from "../../../src/stack/agent.ts";
import { RELAY_AUDIENCE } from "../../../src/stack/issuer.ts";
import { type Relay, startRelay } from "../../../src/stack/relay.ts";
import { NO_END } from "../stack.ts";

/** Relay, agent and an upstream in processes of their own, without a Kubernetes; both hops can fail. */
export interface Site {
  readonly folder: string;
  readonly keeper: Keeper;
  readonly relay: Relay;
  readonly agent: Agent;
  /** Between callers and the relay, and between the agent and the relay. */
  readonly callerSide: FaultProxy;
  readonly agentSide: FaultProxy;
  /** A caller's channel, closed at the end. @param subject of the caller. */
  link(subject?: string): RawLink;
  relayMetrics(): Promise<ReadonlyMap<string, number>>;
  agentMetrics(): Promise<ReadonlyMap<string, number>>;
  stop(): Promise<void>;
}

export interface SiteOptions {
  readonly relayLimits?: Readonly<Record<string, number>>;
  readonly agentLimits?: Readonly<Record<string, number>>;
}

export const ECHO = "echo";
export const SOURCE = "source";
const CLUSTER = "prod";
const TOKEN_SECONDS = 3_600;
/** Nothing listens there: raw streams go past the auth proxy. */
const NO_HEALTH = "http://127.0.0.1:1/readyz";

/** Starts a site; its relay and agent have their default limits unless told otherwise. */
async function startSite(options: SiteOptions, { keeper }: { readonly keeper: Keeper }): Promise<Site> {
  const folder = await mkdtemp(join(tmpdir(), "cc-site-"));
  keeper.ownFolder(folder);
  const [port, healthPort] = [await freePort(), await freePort()];
  const [callerSide, agentSide] = [await startFaultProxy(port), await startFaultProxy(port)];
  const issuer = await startTestIssuer();
  const grantedUpstreams = [ECHO, SOURCE];
  const own = { folder: join(folder, "relay"), signal: NO_END, issuerUrl: issuer.url, grantedUpstreams };
  const behind = { publicUrl: `http://127.0.0.1:${agentSide.port}`, port };
  const limits = options.relayLimits === undefined ? {} : { limits: options.relayLimits };
  const relay = await startRelay({ ...own, ...limits, behind }, { keeper, now: () => new Date() });
  const echo = await startEcho({ folder, signal: NO_END }, { keeper });
  const caFile = join(folder, "ca.crt");
  await writeFile(caFile, (await createAuthority("cluster", { now: () => new Date() })).certPem);
  const agent = await startAgent(
    {
      folder: join(folder, "agent"),
      signal: NO_END,
      relay,
      authProxy: { socket: join(folder, "none.sock"), healthUrl: NO_HEALTH, caFile },
      code: await relay.enrollmentCode(CLUSTER, { signal: NO_END }),
      upstreams: { [ECHO]: `127.0.0.1:${echo.echoPort}`, [SOURCE]: `127.0.0.1:${echo.sourcePort}` },
      healthPort,
      ...(options.agentLimits === undefined ? {} : { limits: options.agentLimits }),
    },
    { keeper },
  );
  const links: RawLink[] = [];
  return {
    folder,
    keeper,
    relay,
    agent,
    callerSide,
    agentSide,
    link(subject = "viewer") {
      const where = { relay: `http://127.0.0.1:${callerSide.port}`, caPem: "", cluster: CLUSTER };
      const link = startRawLink({ ...where, token: () => tokenOf(subject, issuer) });
      links.push(link);
      return link;
    },
    relayMetrics: () => readMetrics(`http://127.0.0.1:${port}/metrics`),
    agentMetrics: () => readMetrics(`http://127.0.0.1:${healthPort}/metrics`),
    async stop() {
      await Promise.all(links.map((link) => link.close()));
      await Promise.all([agent.program?.stop({ graceMs: 0 }), relay.program.stop({ graceMs: 0 })]);
      await Promise.all([callerSide.stop(), agentSide.stop(), issuer.stop()]);
    },
  };
}

function tokenOf(subject: string, issuer: TestIssuer): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  const times = { iat: now, exp: now + TOKEN_SECONDS };
  return issuer.sign({ aud: RELAY_AUDIENCE, sub: subject, preferred_username: subject, groups: ["viewers"], ...times });
}

/** One site for all tests of a file. */
export function useSite(options: SiteOptions = {}): () => Site {
  let keeper: Keeper | undefined;
  let site: Site | undefined;
  beforeAll(async () => {
    keeper = await startKeeper();
    site = await startSite(options, { keeper });
  });
  afterAll(async () => {
    await site?.stop();
    await keeper?.stop();
  });
  return () => {
    if (site === undefined) throw new Error("the site is not up");
    return site;
  };
}
