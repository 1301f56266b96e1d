import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import {
  missingPgbouncer,
  missingPostgres,
  startTestPgbouncer,
  startTestPostgres,
  type TestPgbouncer,
  type TestPostgres,
} from "@cluster-connect/service/testing";
import { afterAll, beforeAll } from "vitest";
import { createAuthority } from "../../../src/cluster/control-plane/certificates.ts";
import { type FaultProxy, startFaultProxy } from "../../../src/faults/fault-proxy.ts";
import { type RawLink, startRawLink } from "../../../src/faults/raw-link.ts";
import { type Keeper, startKeeper } from "../../../src/process/keeper.ts";
import { pollUntil } from "../../../src/process/poll.ts";
import { type Agent, copyAgentState, startAgent } from "../../../src/stack/agent.ts";
import { missingBalancer } from "../../../src/stack/balancer.ts";
import { type Fleet, startFleet } from "../../../src/stack/fleet.ts";
import { RELAY_AUDIENCE } from "../../../src/stack/issuer.ts";
import { NO_END } from "../stack.ts";
import { serveCluster } from "./named-cluster.ts";

/** Relays, clusters with replicas of their agents, PostgreSQL and a balancer, all real but for the clusters' insides. */
export interface FleetScene {
  readonly fleet: Fleet;
  readonly postgres: TestPostgres;
  /** Between relays and PostgreSQL, where the suite asked for it. */
  readonly pooler: TestPgbouncer | undefined;
  readonly storeUrl: string;
  /** Between the database and every relay but the first. */
  readonly storeFaults: FaultProxy;
  readonly agents: readonly Agent[];
  readonly keeper: Keeper;
  /** The authority of a cluster, PEM. */
  authorityOf(cluster: string): Promise<string>;
  readonly folder: string;
  /** A caller's channel through the balancer, as the CLI has one. */
  link(cluster: string): RawLink;
  token(claims?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Waits until the store knows so many tunnels of relays with a lease that holds. */
  tunnels(count: number): Promise<void>;
}

/** An upstream that first says which cluster it is, then echoes. */
export const NAMED_ECHO = "named-echo";
export const CLUSTERS: readonly string[] = ["north", "south", "west"];
const REPLICAS = 2;
export const RELAYS = 3;
export const AGENTS: number = CLUSTERS.length * REPLICAS;
export const TUNNELS: number = AGENTS * 2;
const DRAIN_SECONDS = 3;
const TUNNELS_TIMEOUT_MS = 90_000;

/** Why the scene cannot be set on this machine; undefined when it can. */
export function missingForFleet({ pooled = false }: FleetSceneOptions = {}): string | undefined {
  return missingPostgres() ?? missingBalancer() ?? (pooled ? missingPgbouncer() : undefined);
}

export interface FleetSceneOptions {
  /** Real agents for these; without any there are relays, database and balancer. */
  readonly clusters?: readonly string[];
  /** Puts PgBouncer in transaction mode before PostgreSQL. */
  readonly pooled?: boolean;
}

/** Starts it before the file's tests and ends it after them. */
export function useFleet(options: FleetSceneOptions = {}): () => FleetScene {
  let scene: FleetScene | undefined;
  const ends: (() => unknown)[] = [];
  beforeAll(async () => {
    scene = await setScene(options, (end) => ends.unshift(end));
  });
  afterAll(async () => {
    for (const end of ends) await end();
  });
  return () => {
    if (scene === undefined) throw new Error("the scene is not set");
    return scene;
  };
}

async function setScene(options: FleetSceneOptions, atEnd: (end: () => unknown) => void): Promise<FleetScene> {
  const { clusters = CLUSTERS, pooled = false } = options;
  const keeper = await startKeeper();
  atEnd(() => keeper.stop());
  const folder = await mkdtemp(join(tmpdir(), "cc-fleet-"));
  keeper.ownFolder(folder);
  const issuer = await startTestIssuer();
  atEnd(() => issuer.stop());
  const postgres = await startTestPostgres();
  keeper.adopt(postgres.pid);
  atEnd(() => postgres.stop());
  const storeUrl = await postgres.createDatabase();
  const pooler = pooled ? await startTestPgbouncer(storeUrl) : undefined;
  if (pooler !== undefined) {
    keeper.adopt(pooler.pid);
    atEnd(() => pooler.stop());
  }
  const relaysUrl = pooler?.through(storeUrl) ?? storeUrl;
  const storeFaults = await startFaultProxy(Number(new URL(relaysUrl).port));
  atEnd(() => storeFaults.stop());
  const around = new URL(relaysUrl);
  around.port = String(storeFaults.port);
  const fleet = await startFleet(
    {
      folder: join(folder, "relays"),
      signal: NO_END,
      count: RELAYS,
      issuerUrl: issuer.url,
      storeUrl: relaysUrl,
      storeUrlOfOthers: around.href,
      drainSeconds: DRAIN_SECONDS,
      grantedUpstreams: [NAMED_ECHO],
    },
    { keeper, now: () => new Date() },
  );
  atEnd(() => fleet.stop());
  const agents = (
    await Promise.all(clusters.map((name) => startCluster(name, { folder, fleet, keeper, atEnd })))
  ).flat();
  const token = (claims: Readonly<Record<string, unknown>> = {}): Promise<string> => sign(issuer, claims);
  return {
    fleet,
    postgres,
    pooler,
    storeUrl,
    storeFaults,
    agents,
    keeper,
    folder,
    token,
    authorityOf: (cluster) => readFile(join(folder, cluster, "ca.crt"), "utf8"),
    link: (cluster) => startRawLink({ relay: fleet.url, caPem: fleet.caPem, cluster, token }),
    tunnels: async (count) => {
      const sql =
        "select count(*) from tunnels join relays on relays.id = relay_id where lease_until > " +
        `to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
      const counted = async (): Promise<true | undefined> =>
        Number((await postgres.query(storeUrl, sql))[0]) === count ? true : undefined;
      await pollUntil(counted, { signal: AbortSignal.timeout(TUNNELS_TIMEOUT_MS) });
    },
  };
}

function sign(issuer: TestIssuer, claims: Readonly<Record<string, unknown>>): Promise<string> {
  return issuer.sign({
    aud: RELAY_AUDIENCE,
    sub: "viewer",
    preferred_username: "viewer",
    groups: ["viewers"],
    ...claims,
  });
}

export interface ClusterDeps {
  readonly folder: string;
  readonly fleet: Pick<Fleet, "url" | "caFile" | "enrollmentCode">;
  readonly keeper: Keeper;
  readonly atEnd: (end: () => unknown) => void;
}

/** Replicas of an agent, with one key; what they reach is in this process. */
export async function startCluster(name: string, deps: ClusterDeps): Promise<readonly Agent[]> {
  const { fleet, keeper } = deps;
  const folder = join(deps.folder, name);
  await mkdir(folder, { recursive: true });
  const caFile = join(folder, "ca.crt");
  const authority = await createAuthority(name, { now: () => new Date() });
  await writeFile(caFile, authority.certPem);
  const socket = join(folder, "proxy.sock");
  deps.atEnd(await serveCluster(name, socket, authority));
  const health = await listen(
    createHttpServer((_request, response) => {
      const checks = [{ name: "apiserver", ok: true, text: "ok" }];
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ ok: true, checks }));
    }),
    deps,
  );
  const echo = await listen(
    createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      socket.on("error", () => undefined);
      socket.write(`${name}\n`);
      socket.pipe(socket);
    }),
    deps,
  );
  const code = await fleet.enrollmentCode(name, { uses: 1, signal: NO_END });
  const agents: Agent[] = [];
  for (let index = 0; index < REPLICAS; index += 1) {
    const own = join(folder, `agent-${index}`);
    if (index > 0) await copyAgentState(join(folder, "agent-0", "state"), join(own, "state"));
    const options = {
      folder: own,
      signal: NO_END,
      relay: { url: fleet.url, caFile: fleet.caFile },
      code,
      authProxy: { socket, healthUrl: `http://127.0.0.1:${health}/readyz`, caFile },
      upstreams: { [NAMED_ECHO]: `127.0.0.1:${echo}` },
    };
    const agent = await startAgent(options, { keeper });
    deps.atEnd(() => agent.stop());
    agents.push(agent);
  }
  return agents;
}

async function listen(server: Server, deps: Pick<ClusterDeps, "atEnd">): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", () => resolve());
  await promise;
  deps.atEnd(() => server.close());
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
