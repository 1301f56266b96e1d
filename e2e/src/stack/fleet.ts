import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UPSTREAM_KUBERNETES } from "@cluster-connect/protocol";
import { createAuthority } from "../cluster/control-plane/certificates.ts";
import { type Daemon, startDaemon } from "../process/daemon.ts";
import { freePort } from "../process/free-port.ts";
import type { Keeper, Program } from "../process/keeper.ts";
import { NAME_PREFIX, writeAuthentication } from "./authentication.ts";
import { type Balancer, startBalancer } from "./balancer.ts";
import { RELAY_AUDIENCE } from "./issuer.ts";
import { makeEnrollmentCode } from "./relay.ts";
import { repositoryFile } from "./repository-file.ts";

/** How to start relays that share a store. */
export interface FleetOptions {
  /** A folder of its own. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly count: number;
  readonly issuerUrl: string;
  /** Of the PostgreSQL database. */
  readonly storeUrl: string;
  /** The same database on another way, for every relay but the first. */
  readonly storeUrlOfOthers?: string;
  readonly drainSeconds: number;
  /** Upstreams of agents that are granted beside the apiserver. */
  readonly grantedUpstreams?: readonly string[];
}

/** One relay of several, that can be ended and started again at its ports. */
export interface FleetRelay {
  readonly name: string;
  readonly program: Program;
  /** Its own address, around the balancer. */
  readonly url: string;
  /** Its id, which is new with each start. */
  readonly id: string;
  /** Resolves when it listens. */
  start(): Promise<void>;
}

/** Several relays behind one name. */
export interface Fleet {
  /** The one name. */
  readonly url: string;
  readonly caFile: string;
  readonly caPem: string;
  readonly relays: readonly FleetRelay[];
  readonly balancer: Pick<Balancer, "use">;
  enrollmentCode(clusterId: string, options: { readonly uses: number; readonly signal: AbortSignal }): Promise<string>;
  stop(): Promise<void>;
}

const MAIN: string = repositoryFile("apps/relay/src/main.ts");
const START_TIMEOUT_MS = 120_000;
const PROBE_SECONDS = 1;

/** Starts relays and a balancer before them, and resolves when all listen. */
export async function startFleet(
  options: FleetOptions,
  deps: { readonly keeper: Keeper; readonly now: () => Date },
): Promise<Fleet> {
  const { folder, count, signal } = options;
  const upstreams = [UPSTREAM_KUBERNETES, ...(options.grantedUpstreams ?? [])];
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const publicPort = await freePort();
  const url = `https://127.0.0.1:${publicPort}`;
  const authority = await createAuthority("cluster-connect relays", deps);
  const files = { ca: join(folder, "ca.crt"), cert: join(folder, "tls.crt"), key: join(folder, "tls.key") };
  const leaf = await authority.issue({ commonName: "relay", hosts: ["127.0.0.1"] });
  await writeFile(files.ca, authority.certPem);
  await writeFile(files.cert, leaf.certPem);
  await writeFile(files.key, leaf.keyPem, { mode: 0o600 });
  const authenticationPath = join(folder, "authentication.json");
  await writeAuthentication(authenticationPath, { issuerUrl: options.issuerUrl, audience: RELAY_AUDIENCE });
  const ports = await Promise.all(
    Array.from({ length: count }, async () => ({ listen: await freePort(), peers: await freePort() })),
  );
  const storeUrlOf = (index: number): string =>
    index === 0 ? options.storeUrl : (options.storeUrlOfOthers ?? options.storeUrl);
  const configs = ports.map((port, index) => ({
    listen: { host: "127.0.0.1", port: port.listen },
    publicUrl: url,
    tls: { certFile: files.cert, keyFile: files.key },
    store: { postgres: { url: storeUrlOf(index) } },
    peers: {
      listen: { host: "127.0.0.1", port: port.peers },
      address: `127.0.0.1:${port.peers}`,
      certFile: files.cert,
      keyFile: files.key,
      caFile: files.ca,
    },
    authenticationConfig: authenticationPath,
    allowInsecureLoopbackIssuer: true,
    grants: [{ clusters: ["*"], groups: [`${NAME_PREFIX}viewers`], upstreams }],
    admins: [{ groups: [`${NAME_PREFIX}admins`] }],
    probe: { intervalSeconds: PROBE_SECONDS },
    drainSeconds: options.drainSeconds,
  }));
  const relays = await Promise.all(
    configs.map((config, index) => startOne(`relay-${index + 1}`, config, { folder, signal }, deps)),
  );
  const balancer: Balancer = await startBalancer(
    { folder: join(folder, "balancer"), port: publicPort, upstreamPorts: ports.map(({ listen }) => listen), signal },
    deps,
  );
  return {
    url,
    caFile: files.ca,
    caPem: authority.certPem,
    relays,
    balancer,
    enrollmentCode: (clusterId, { uses, signal: waiting }) =>
      makeEnrollmentCode(join(folder, "relay-1"), "relay-1", clusterId, waiting, ["--uses", String(uses)]),
    stop: async () => {
      await balancer.stop();
      await Promise.all(relays.map(({ program }) => program.stop()));
    },
  };
}

async function startOne(
  name: string,
  config: { readonly listen: { readonly port: number } } & Readonly<Record<string, unknown>>,
  options: { readonly folder: string; readonly signal: AbortSignal },
  deps: { readonly keeper: Keeper },
): Promise<FleetRelay> {
  let run = 0;
  const startProgram = async (): Promise<Daemon> => {
    run += 1;
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(START_TIMEOUT_MS)]);
    const spec = { name, main: MAIN, folder: join(options.folder, name), config, logName: `${name}-${run}` };
    return await startDaemon({ ...spec, readyEvent: "relay.listening" }, { signal }, deps);
  };
  let daemon = await startProgram();
  return {
    name,
    url: `https://127.0.0.1:${config.listen.port}`,
    get program() {
      return daemon.program;
    },
    get id() {
      return String(daemon.ready["instanceId"]);
    },
    start: async () => {
      daemon = await startProgram();
    },
  };
}
