import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, beforeAll, expect } from "vitest";
import { findTools, type Tools } from "../../../src/cluster/binaries/tools.ts";
import type { Cluster } from "../../../src/cluster/cluster.ts";
import { createAuthority } from "../../../src/cluster/control-plane/certificates.ts";
import { provideWithPods } from "../../../src/cluster/provide-with-pods.ts";
import { provideImages } from "../../../src/images/provide.ts";
import { type Keeper, startKeeper } from "../../../src/process/keeper.ts";
import { createProgress } from "../../../src/process/progress.ts";
import { type RunResult, runToEnd } from "../../../src/process/run-to-end.ts";
import { jwtAuthenticators, NAME_PREFIX } from "../../../src/stack/authentication.ts";
import { type Cli, createCli } from "../../../src/stack/cli.ts";
import { CLUSTER_AUDIENCE, type Issuer, startIssuer } from "../../../src/stack/issuer.ts";
import { type AdminKubectl, adminKubectl } from "../../../src/stack/kubectl.ts";
import { type Relay, startRelay } from "../../../src/stack/relay.ts";
import { repositoryFile } from "../../../src/stack/repository-file.ts";
import { NO_END, SUITE_TOKEN_SECONDS } from "../../support/stack.ts";

/** The namespace and the release that the suites install. */
export const NAMESPACE = "cluster-connect";
export const RELEASE = "connect";
export const CLUSTER = "charted";
export const CHART: string = repositoryFile("deploy/charts/cluster-connect-agent");

/** Relay and issuer outside, agents inside by the chart. */
export interface ChartStack {
  readonly cluster: Cluster;
  readonly issuer: Issuer;
  readonly relay: Relay;
  readonly keeper: Keeper;
  readonly tools: Tools;
  readonly folder: string;
  /** Authorities of relay and issuer. */
  readonly caFile: string;
  readonly issuerCaPem: string;
  readonly kubectl: AdminKubectl;
  /** Values for a release: the believed issuer, the relay's address. */
  values(): Promise<string>;
  helm(args: readonly string[]): Promise<RunResult>;
  /** Signs a user in, with a kubeconfig that leads through the relay. */
  signIn(user: string): Promise<{ readonly cli: Cli; readonly env: Readonly<Record<string, string>> }>;
}

/** How the stack is other than usual. */
export interface ChartStackOptions {
  readonly accessTokenSeconds?: number;
}

/** A Kubernetes with a node, its images, a relay and an issuer that pods reach; nothing is installed yet. */
export function useChartStack(options: ChartStackOptions = {}): () => ChartStack {
  let keeper: Keeper | undefined;
  let stack: ChartStack | undefined;
  let stop: () => Promise<void> = async () => {};
  beforeAll(async () => {
    keeper = await startKeeper();
    [stack, stop] = await start(keeper, options);
  });
  afterAll(async () => {
    await stop();
    await keeper?.stop();
  });
  return () => stack ?? expect.fail("the stack is not up");
}

async function start(keeper: Keeper, options: ChartStackOptions): Promise<[ChartStack, () => Promise<void>]> {
  const signal = NO_END;
  const { env, platform, arch } = process;
  const folder = await mkdtemp(join(tmpdir(), "cc-e2e-"));
  keeper.ownFolder(folder);
  const now = (): Date => new Date();
  const progress = createProgress(process.stderr, { now: () => performance.now() });
  const tools = await findTools({ signal }, { env, platform, arch, progress });
  const host = { platform, arch, uid: process.getuid?.() };
  const archives = await provideImages({ signal }, { env, progress });
  const cluster = await provideWithPods(
    { folder: join(folder, "kubernetes"), signal },
    { keeper, tools, env, progress, host, now },
  );
  await progress.during("images to the node", async () => {
    for (const archive of archives) await cluster.loadImage(archive);
  });
  const authority = await createAuthority("cluster-connect test issuer", { now });
  const leaf = await authority.issue({ commonName: "issuer", hosts: [cluster.hostAddress] });
  await mkdir(join(folder, "issuer"), { mode: 0o700 });
  const secure = { host: cluster.hostAddress, ...leaf };
  const issuer = await startIssuer(
    { folder: join(folder, "issuer"), signal, secure, accessTokenSeconds: SUITE_TOKEN_SECONDS, ...options },
    { keeper },
  );
  const relayFrom = { issuerUrl: issuer.url, issuerCaPem: authority.certPem, host: cluster.hostAddress };
  const relay = await startRelay({ folder: join(folder, "relay"), signal, ...relayFrom }, { keeper, now });
  const relayCa = await readFile(relay.caFile ?? "", "utf8");
  const caFile = join(folder, "authorities.crt");
  await writeFile(caFile, `${relayCa}\n${authority.certPem}`);
  // The suite's own browser goes to the issuer, too.
  setDefaultCACertificates([...getCACertificates("bundled"), authority.certPem]);
  const kubectl = adminKubectl(cluster, { folder: join(folder, "cache"), signal: () => signal }, { tools, env });
  for (const [role, group] of Object.entries({ view: "viewers", "cluster-admin": "admins" })) {
    await kubectl(["create", "clusterrolebinding", group, `--clusterrole=${role}`, `--group=${NAME_PREFIX}${group}`]);
  }
  const toolEnv = { PATH: tools.path, HOME: folder, KUBECONFIG: cluster.kubeconfigPath };
  let people = 0;
  const stack: ChartStack = {
    cluster,
    issuer,
    relay,
    keeper,
    tools,
    folder,
    caFile,
    kubectl,
    issuerCaPem: authority.certPem,
    helm: (args) => runToEnd(tools.helm, args, { env: toolEnv, signal, cwd: folder }),
    values: () => writeValues(folder, { relay, relayCa, issuer, issuerCa: authority.certPem }),
    signIn: async (user) => {
      people += 1;
      const own = {
        folder: join(folder, `cli-${people}`),
        relay: { url: relay.url, caFile },
        path: tools.path,
        signal,
      };
      const authority = join(own.folder, "authority.pem");
      await mkdir(own.folder, { recursive: true });
      await writeFile(authority, await installedAuthority(kubectl));
      const cli = await createCli({ ...own, authorities: { [CLUSTER]: authority } }, { keeper });
      await cli.login(user, "browser");
      const proxy = await cli.proxy([CLUSTER]);
      return { cli, env: { ...cli.env, KUBECONFIG: proxy.kubeconfigPath } };
    },
  };
  return [stack, async () => void (await Promise.all([relay.stop(), issuer.stop()]).then(() => cluster.stop()))];
}

/** The authority that the chart made in the cluster: the certificates of its Secret, without the key. */
export async function installedAuthority(kubectl: AdminKubectl): Promise<string> {
  const found = await kubectl(["get", "secrets", "-n", NAMESPACE, "-o", "jsonpath={.items[*].data.authority\\.pem}"]);
  const pem = Buffer.from(found.trim().split(" ")[0] ?? "", "base64").toString("utf8");
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).join("\n");
}

async function writeValues(
  folder: string,
  given: { readonly relay: Relay; readonly relayCa: string; readonly issuer: Issuer; readonly issuerCa: string },
): Promise<string> {
  const { relay, relayCa, issuer, issuerCa } = given;
  const path = join(folder, "values.json");
  const believed = { issuerUrl: issuer.url, issuerCaPem: issuerCa, audience: CLUSTER_AUDIENCE };
  const values = {
    global: { resourceName: CLUSTER },
    relay: { url: relay.url, ca: relayCa },
    authentication: { jwt: jwtAuthenticators(believed) },
    image: { pullPolicy: "Never" },
    agent: { drainSeconds: 5 },
  };
  await writeFile(path, JSON.stringify(values), { mode: 0o600 });
  return path;
}

/** Installs or changes a release and waits for its pods. */
export async function installChart(stack: ChartStack, more: readonly string[] = []): Promise<RunResult> {
  const args = ["upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE, "--create-namespace"];
  return stack.helm([...args, "--values", await stack.values(), "--wait", "--timeout", "180s", ...more]);
}
