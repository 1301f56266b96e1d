import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startTestIssuer, type TestIssuer } from "@cluster-connect/auth/testing";
import { expect } from "vitest";
import { parse } from "yaml";
import { assetsDeps, findAssets } from "../../src/cluster/binaries/assets.ts";
import { findTools, type Tools } from "../../src/cluster/binaries/tools.ts";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { startControlPlane } from "../../src/cluster/control-plane/control-plane.ts";
import { compileCacheEnv } from "../../src/process/compile-cache.ts";
import { freePort } from "../../src/process/free-port.ts";
import { type Keeper, type Program, startKeeper } from "../../src/process/keeper.ts";
import { type LogEvent, readLogEvents, waitForLogEvent } from "../../src/process/log-events.ts";
import { createProgress, type Progress } from "../../src/process/progress.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { startOtherCluster } from "./provider.ts";
import type { HttpsTarget } from "./wire/https-client.ts";

const AUDIENCE = "https://cluster.example";
const CLUSTER_ID = "direct";
const SERVER_NAME = `${CLUSTER_ID}.clusters.cluster-connect.internal`;
const MAIN = fileURLToPath(new URL("../../../apps/auth-proxy/src/main.ts", import.meta.url));
const RBAC = fileURLToPath(new URL("../../../deploy/rbac/", import.meta.url));

/** A real control plane with an issuer, without relay and agent: callers reach the auth proxy itself. */
export interface DirectWorld extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly issuer: TestIssuer;
  readonly folder: string;
  /** The apiserver as its administrator. */
  readonly admin: HttpsTarget;
  /** kubectl as the administrator; fails the test when it fails. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** kubectl with a token at the auth proxy. */
  kubectlAt(proxy: DirectProxy, token: string, args: readonly string[]): Promise<RunResult>;
  /** Gives the account this role alone: a file of deploy/rbac, or YAML. */
  setRole(role: "constrained" | "legacy" | { readonly yaml: string }): Promise<void>;
  /** Starts the auth proxy; resolves when it serves. */
  start(config?: Readonly<Record<string, unknown>>): Promise<DirectProxy>;
  /** Starts the auth proxy where it is to give up. */
  startToEnd(
    config?: Readonly<Record<string, unknown>>,
  ): Promise<{ readonly code: number | null; readonly log: string }>;
  /** A token with a username (behind `demo:`) and groups. */
  token(name: string, groups?: readonly string[], claims?: Readonly<Record<string, unknown>>): Promise<string>;
}

export interface DirectProxy extends AsyncDisposable {
  readonly target: HttpsTarget;
  readonly caFile: string;
  logEvents(): Promise<readonly LogEvent[]>;
}

const signal: AbortSignal = new AbortController().signal;

export async function createDirectWorld(): Promise<DirectWorld> {
  const keeper = await startKeeper();
  const folder = await mkdtemp(join(tmpdir(), "cluster-connect-direct-"));
  keeper.ownFolder(folder);
  const progress = createProgress(process.stderr, { now: () => performance.now() });
  const { env, platform, arch } = process;
  const tools = await findTools({ signal }, { env, platform, arch, progress });
  const own = { folder: join(folder, "cluster"), signal };
  const { startCluster } = startOtherCluster({ keeper, tools, progress });
  const cluster = startCluster === undefined ? await startLocal(own, { keeper, progress }) : await startCluster(own);
  const issuer = await startTestIssuer();
  await writeFile(join(folder, "apiserver-ca.crt"), cluster.caPem);
  await writeFile(join(folder, "issuers.json"), JSON.stringify(authentication(issuer.url)));
  return buildWorld({ keeper, folder, tools, cluster, issuer, admin: await adminTarget(cluster) });
}

async function startLocal(
  own: { readonly folder: string; readonly signal: AbortSignal },
  deps: { readonly keeper: Keeper; readonly progress: Progress },
): Promise<Cluster> {
  const assets = await findAssets(own, assetsDeps(own, { env: process.env, ...deps }));
  return await startControlPlane(own, { keeper: deps.keeper, assets, now: () => new Date() });
}

interface Parts {
  readonly keeper: Keeper;
  readonly folder: string;
  readonly tools: Tools;
  readonly cluster: Cluster;
  readonly issuer: TestIssuer;
  readonly admin: HttpsTarget;
}

async function buildWorld({ keeper, folder, tools, cluster, issuer, admin }: Parts): Promise<DirectWorld> {
  let count = 0;
  let role: string | undefined;
  const run = (kubeconfig: string, args: readonly string[], input?: string): Promise<RunResult> => {
    const env = { PATH: tools.path, HOME: folder, KUBECONFIG: kubeconfig };
    return runToEnd(tools.kubectl, args, { env, signal, ...(input === undefined ? {} : { input }) });
  };
  const kubectl = async (args: readonly string[], input?: string): Promise<string> => {
    const result = await run(cluster.kubeconfigPath, args, input);
    expect(result.code, result.stderr).toBe(0);
    return result.stdout;
  };
  await kubectl(["apply", "-f", join(RBAC, "account.yaml")]);
  const ownToken = await kubectl(["create", "token", "cluster-connect-auth-proxy", "-n", "cluster-connect"]);
  await writeFile(join(folder, "own-token"), ownToken.trim());

  async function launch(
    config: Readonly<Record<string, unknown>>,
  ): Promise<{ program: Program; port: number; own: string }> {
    count += 1;
    const own = join(folder, `proxy-${count}`);
    await mkdir(own);
    const port = await freePort();
    const settings = {
      clusterId: CLUSTER_ID,
      listen: { host: "127.0.0.1", port, proxyProtocol: false },
      stateDir: join(own, "state"),
      publishCaPath: join(own, "ca.crt"),
      authenticationConfig: join(folder, "issuers.json"),
      allowInsecureLoopbackIssuer: true,
      upstream: {
        url: cluster.apiserverUrl,
        caFile: join(folder, "apiserver-ca.crt"),
        tokenFile: join(folder, "own-token"),
      },
      health: { host: "127.0.0.1", port: await freePort() },
      drainSeconds: 1,
      ...config,
    };
    const file = join(own, "config.json");
    await writeFile(file, JSON.stringify(settings));
    const program = await keeper.start({
      name: "auth-proxy",
      command: process.execPath,
      args: ["--conditions=source", MAIN, "--config", file],
      env: { HOME: own, PATH: "/usr/bin:/bin", ...compileCacheEnv(process.env) },
      cwd: own,
      logPath: join(own, "auth-proxy.log"),
    });
    return { program, port, own };
  }

  return {
    cluster,
    issuer,
    folder,
    admin,
    kubectl,
    async kubectlAt(proxy, token, args) {
      count += 1;
      const file = join(folder, `caller-${count}.json`);
      await writeFile(file, JSON.stringify(callerConfig(proxy, token)), { mode: 0o600 });
      return run(file, args);
    },
    async setRole(next) {
      const yaml = typeof next === "object" ? next.yaml : await readFile(join(RBAC, `${next}.yaml`), "utf8");
      if (role !== undefined) await kubectl(["delete", "-f", "-", "--ignore-not-found"], role);
      await kubectl(["apply", "-f", "-"], yaml);
      role = yaml;
    },
    async start(config = {}) {
      const { program, port, own } = await launch(config);
      await waitForLogEvent(program, (event) => event["event"] === "serving", { signal });
      const caFile = join(own, "ca.crt");
      return {
        target: { url: `https://127.0.0.1:${port}`, ca: await readFile(caFile, "utf8"), servername: SERVER_NAME },
        caFile,
        logEvents: () => readLogEvents(program.logPath),
        [Symbol.asyncDispose]: async () => void (await program.stop()),
      };
    },
    async startToEnd(config = {}) {
      const { program } = await launch(config);
      const { code } = await program.ended;
      return { code, log: await readFile(program.logPath, "utf8") };
    },
    token: (name, groups = [], claims = {}) => issuer.sign({ aud: AUDIENCE, sub: name, groups, ...claims }),
    async [Symbol.asyncDispose]() {
      await issuer[Symbol.asyncDispose]();
      await cluster.stop();
      await keeper.stop();
    },
  };
}

function authentication(url: string): object {
  const claimMappings = { username: { claim: "sub", prefix: "demo:" }, groups: { claim: "groups", prefix: "demo:" } };
  return {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [{ issuer: { url, audiences: [AUDIENCE] }, claimMappings }],
  };
}

function callerConfig(proxy: DirectProxy, token: string): object {
  const cluster = { server: proxy.target.url, "certificate-authority": proxy.caFile, "tls-server-name": SERVER_NAME };
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster }],
    users: [{ name: "u", user: { token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
}

async function adminTarget(cluster: Cluster): Promise<HttpsTarget> {
  const { users } = parse(await readFile(cluster.kubeconfigPath, "utf8"));
  const { user } = users[0];
  const decode = (text: string): string => Buffer.from(text, "base64").toString("utf8");
  return {
    url: cluster.apiserverUrl,
    ca: cluster.caPem,
    cert: decode(user["client-certificate-data"]),
    key: decode(user["client-key-data"]),
  };
}
