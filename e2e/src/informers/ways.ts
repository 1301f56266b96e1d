import { mkdtemp, readdir, readFile, readlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { assetsDeps, findAssets } from "../cluster/binaries/assets.ts";
import { findTools } from "../cluster/binaries/tools.ts";
import { startKeeper } from "../process/keeper.ts";
import { pollUntil } from "../process/poll.ts";
import { createProgress } from "../process/progress.ts";
import type { LocalProxy } from "../stack/cli.ts";
import { startGoScene } from "../stack/go-scene.ts";
import { type Stack, startStack } from "../stack/stack.ts";

/** Numbers by their name. */
export type Costs = Readonly<Record<string, number>>;

/** Ways from a client to the same kind of cluster. */
export interface Ways {
  /** @param way `direct`, `http1` or `http2`. */
  measure(way: string, count: number): Promise<Costs>;
  stop(): Promise<void>;
}

interface Through {
  readonly stack: Stack;
  readonly proxy: LocalProxy;
  readonly env: Readonly<Record<string, string>>;
}

const SIGNAL = new AbortController().signal;
const KIB_PER_MIB = 1_024;
const SETTLE_TIMEOUT_MS = 60_000;
const STANDING_MS = 2_000;
/** Tokens outlive the run. */
const TOKEN_SECONDS = 3_600;

/** Starts two chains, each with a control plane of its own: one speaks HTTP/2, the other one HTTP/1.1 alone. */
export async function startWays(env: NodeJS.ProcessEnv): Promise<Ways> {
  const keeper = await startKeeper();
  const progress = createProgress(process.stderr, { now: () => performance.now() });
  const options = { signal: SIGNAL };
  const { platform, arch } = process;
  const tools = await findTools(options, { env, platform, arch, progress });
  const deps = {
    keeper,
    tools,
    env,
    progress,
    now: () => new Date(),
    findAssets: () => findAssets(options, assetsDeps(options, { env, progress, keeper })),
  };
  const start = async (http2: boolean): Promise<Through> => {
    const folder = await mkdtemp(join(tmpdir(), "cc-informers-"));
    keeper.ownFolder(folder);
    const own = { folder, signal: SIGNAL, accessTokenSeconds: TOKEN_SECONDS, authProxySettings: { http2 } };
    const stack = await startStack(own, deps);
    const cli = await stack.cli("admin");
    await cli.login("admin", "browser");
    const proxy = await cli.proxy([stack.clusterId]);
    return { stack, proxy, env: { ...cli.env, KUBECONFIG: proxy.kubeconfigPath } };
  };
  const http1 = await start(false);
  const http2 = await start(true);
  const idle = { http1: await usages(hopsOf(http1)), http2: await usages(hopsOf(http2)) };
  const direct = { ...http1.env, KUBECONFIG: http1.stack.cluster.kubeconfigPath };
  return {
    async measure(way, count) {
      const through = { http1, http2 }[way];
      const hops = through === undefined ? [] : hopsOf(through);
      const before = way === "http1" || way === "http2" ? idle[way] : [];
      await settled(hops, before);
      await using scene = await startGoScene(
        { scene: "informers", count, namespace: "informers", env: through?.env ?? direct },
        { keeper },
      );
      const { ms } = await scene.fact();
      // Connections that the client dialed beside the first one, and has no use for, go meanwhile.
      await delay(STANDING_MS);
      const after = await usages(hops);
      await scene.end();
      const grown = hops.flatMap(({ name }, index) => [
        [`${name} sockets`, (after[index]?.sockets ?? 0) - (before[index]?.sockets ?? 0)],
        [`${name} memory`, (after[index]?.residentMib ?? 0) - (before[index]?.residentMib ?? 0)],
      ]);
      return { time: Number(ms), ...Object.fromEntries(grown) };
    },
    async stop() {
      for (const { stack, proxy } of [http1, http2]) {
        await proxy.stop();
        await stack.stop();
      }
      await keeper.stop();
    },
  };
}

interface Hop {
  readonly name: string;
  readonly pid: number;
}

function hopsOf({ stack, proxy }: Through): readonly Hop[] {
  const programs = { CLI: proxy.program, agent: stack.agent.program, "auth proxy": stack.authProxy.program };
  return Object.entries(programs).flatMap(([name, program]) =>
    program === undefined ? [] : [{ name, pid: program.pid }],
  );
}

interface Usage {
  readonly sockets: number;
  readonly residentMib: number;
}

function usages(hops: readonly Hop[]): Promise<readonly Usage[]> {
  return Promise.all(hops.map(usage));
}

/** Connections of the turn before are gone but for those that the auth proxy keeps to the apiserver. */
async function settled(hops: readonly Hop[], idle: readonly Usage[]): Promise<void> {
  const [cli] = hops;
  const [before] = idle;
  if (cli === undefined || before === undefined) return;
  const isSettled = async (): Promise<true | undefined> =>
    (await usage(cli)).sockets <= before.sockets ? true : undefined;
  await pollUntil(isSettled, { signal: AbortSignal.timeout(SETTLE_TIMEOUT_MS) });
}

async function usage({ pid }: Hop): Promise<Usage> {
  const folder = `/proc/${pid}/fd`;
  const links = await Promise.all((await readdir(folder)).map((fd) => readlink(join(folder, fd)).catch(() => "")));
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return {
    sockets: links.filter((link) => link.startsWith("socket:")).length,
    residentMib: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / KIB_PER_MIB,
  };
}
