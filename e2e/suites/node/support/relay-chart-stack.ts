import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { missingPostgres, startTestPostgres } from "@cluster-connect/service/testing";
import { afterAll, beforeAll, expect } from "vitest";
import { findTools } from "../../../src/cluster/binaries/tools.ts";
import { createAuthority } from "../../../src/cluster/control-plane/certificates.ts";
import { provideWithPods } from "../../../src/cluster/provide-with-pods.ts";
import { missingForImages, provideImages } from "../../../src/images/provide.ts";
import { type Keeper, startKeeper } from "../../../src/process/keeper.ts";
import { createProgress } from "../../../src/process/progress.ts";
import { type RunResult, runToEnd } from "../../../src/process/run-to-end.ts";
import { jwtAuthenticators, NAME_PREFIX } from "../../../src/stack/authentication.ts";
import { type Issuer, RELAY_AUDIENCE, startIssuer } from "../../../src/stack/issuer.ts";
import { type AdminKubectl, adminKubectl } from "../../../src/stack/kubectl.ts";
import { repositoryFile } from "../../../src/stack/repository-file.ts";
import { NAMED_ECHO } from "../../support/relays/fleet.ts";
import { NO_END } from "../../support/stack.ts";

/** The namespace and the release that the suite installs. */
export const NAMESPACE = "relays";
export const RELEASE = "relay";
const CHART: string = repositoryFile("deploy/charts/cluster-connect-relay");
/** Of the range that NodePorts are chosen from. */
const NODE_PORT = 30_443;

/** A node for a cluster that runs relays; PostgreSQL, issuer, agents and callers are on this machine. */
export interface RelayChartStack {
  readonly folder: string;
  readonly keeper: Keeper;
  readonly kubectl: AdminKubectl;
  readonly issuer: Issuer;
  /** Through the Service, by a port of the node. */
  readonly url: string;
  /** Of the authority behind {@link url}. */
  readonly caPem: string;
  readonly caFile: string;
  helm(args: readonly string[]): Promise<RunResult>;
  /** Installs or changes the release and waits for its pods. */
  install(more?: readonly string[]): Promise<RunResult>;
}

/** Why the scene cannot be set on this machine; undefined when it can. */
export async function missingForRelayChart(): Promise<string | undefined> {
  return missingPostgres() ?? (await missingForImages(process.env));
}

/** The node with the relay's image and the Secrets that the chart names; nothing is installed yet. */
export function useRelayChartStack(): () => RelayChartStack {
  const ends: (() => Promise<unknown>)[] = [];
  let stack: RelayChartStack | undefined;
  beforeAll(async () => {
    stack = await start((end) => ends.unshift(end));
  });
  afterAll(async () => {
    for (const end of ends) await end();
  });
  return () => stack ?? expect.fail("the stack is not up");
}

async function start(atEnd: (end: () => Promise<unknown>) => void): Promise<RelayChartStack> {
  const signal = NO_END;
  const { env, platform, arch } = process;
  const now = (): Date => new Date();
  const keeper = await startKeeper();
  atEnd(() => keeper.stop());
  const folder = await mkdtemp(join(tmpdir(), "cc-e2e-"));
  keeper.ownFolder(folder);
  const progress = createProgress(process.stderr, { now: () => performance.now() });
  const tools = await findTools({ signal }, { env, platform, arch, progress });
  const host = { platform, arch, uid: process.getuid?.() };
  const archives = await provideImages({ signal, apps: ["relay"] }, { env, progress });
  const cluster = await provideWithPods(
    { folder: join(folder, "kubernetes"), signal },
    { keeper, tools, env, progress, host, now },
  );
  atEnd(() => cluster.stop());
  await progress.during("images to the node", async () => {
    for (const archive of archives) await cluster.loadImage(archive);
  });
  const postgres = await startTestPostgres({ host: cluster.hostAddress });
  keeper.adopt(postgres.pid);
  atEnd(() => postgres.stop());
  const authority = await createAuthority("cluster-connect relays", { now });
  const secure = await authority.issue({ commonName: "issuer", hosts: [cluster.hostAddress] });
  await mkdir(join(folder, "issuer"), { mode: 0o700 });
  const issuerOptions = { folder: join(folder, "issuer"), signal, secure: { host: cluster.hostAddress, ...secure } };
  const issuer = await startIssuer(issuerOptions, { keeper });
  atEnd(() => issuer.stop());
  const kubectl = adminKubectl(cluster, { folder: join(folder, "cache"), signal: () => signal }, { tools, env });
  const address = await kubectl([
    ...["get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'],
  ]);
  const url = `https://${address}:${NODE_PORT}`;
  const caFile = join(folder, "ca.crt");
  await writeFile(caFile, authority.certPem);
  await kubectl(["create", "namespace", NAMESPACE]);
  const identity = async (name: string, hosts: readonly string[]): Promise<void> => {
    const { certPem, keyPem } = await authority.issue({ commonName: name, hosts });
    const data = { "tls.crt": certPem, "tls.key": keyPem, "ca.crt": authority.certPem };
    await createSecret(name, data, { kubectl, folder });
  };
  await identity("relay-tls", [address]);
  await identity("relay-peers", [`*.${RELEASE}-peers.${NAMESPACE}.svc`]);
  await createSecret("relay-db", { url: await postgres.createDatabase() }, { kubectl, folder });
  const values = join(folder, "values.json");
  const believed = { issuerUrl: issuer.url, issuerCaPem: authority.certPem, audience: RELAY_AUDIENCE };
  await writeFile(values, JSON.stringify(valuesFor(url, jwtAuthenticators(believed))), { mode: 0o600 });
  const helm = (args: readonly string[]): Promise<RunResult> =>
    runToEnd(tools.helm, args, {
      env: { PATH: tools.path, HOME: folder, KUBECONFIG: cluster.kubeconfigPath },
      signal,
      cwd: folder,
    });
  const install = (more: readonly string[] = []): Promise<RunResult> =>
    helm([
      ...["upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE, "--values", values],
      ...["--wait", "--timeout", "120s", ...more],
    ]);
  return { folder, keeper, kubectl, issuer, url, caPem: authority.certPem, caFile, helm, install };
}

async function createSecret(
  name: string,
  data: Readonly<Record<string, string>>,
  { kubectl, folder }: { readonly kubectl: AdminKubectl; readonly folder: string },
): Promise<void> {
  const path = join(folder, `${name}.json`);
  const metadata = { name, namespace: NAMESPACE };
  const secret = { apiVersion: "v1", kind: "Secret", metadata, stringData: data };
  await writeFile(path, JSON.stringify(secret), { mode: 0o600 });
  await kubectl(["apply", "-f", path]);
}

function valuesFor(publicUrl: string, jwt: readonly unknown[]): unknown {
  return {
    publicUrl,
    image: { pullPolicy: "Never" },
    service: { type: "NodePort", nodePort: NODE_PORT },
    store: { postgres: { existingSecret: "relay-db" } },
    peers: { existingSecret: "relay-peers" },
    tls: { existingSecret: "relay-tls" },
    authentication: { apiVersion: "apiserver.config.k8s.io/v1", kind: "AuthenticationConfiguration", jwt },
    grants: [{ clusters: ["*"], groups: [`${NAME_PREFIX}viewers`], upstreams: ["kubernetes", NAMED_ECHO] }],
    networkPolicy: { enabled: true },
    drainSeconds: 5,
    resources: { requests: { cpu: "50m", memory: "128Mi" } },
    config: { probe: { intervalSeconds: 1 } },
  };
}
