import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { assetsDeps, findAssets } from "../../src/cluster/binaries/assets.ts";
import { findTools, type Tools } from "../../src/cluster/binaries/tools.ts";
import { type Keeper, startKeeper } from "../../src/process/keeper.ts";
import { createProgress } from "../../src/process/progress.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import type { Cli, LocalProxy } from "../../src/stack/cli.ts";
import { type Stack, type StackOptions, startStack } from "../../src/stack/stack.ts";
import { startOtherCluster } from "./provider.ts";

/** A person who is signed in, with a local port to the cluster. */
export interface Person {
  readonly cli: Cli;
  readonly proxy: LocalProxy;
  /** kubectl or helm against the tunnel; any exit code is let be. */
  run(tool: "kubectl" | "helm", args: readonly string[], input?: string): Promise<RunResult>;
}

/** One stack for all tests of a file. */
export interface SuiteStack {
  readonly stack: Stack;
  readonly keeper: Keeper;
  readonly tools: Tools;
  readonly folder: string;
  signIn(user: string): Promise<Person>;
}

type Before = (ports: { readonly folder: string; readonly keeper: Keeper }) => Promise<Partial<StackOptions>>;

/** A suite on a slow machine is over before a token ends that it did not ask to end. */
export const SUITE_TOKEN_SECONDS = 3_600;

export const NO_END: AbortSignal = new AbortController().signal;

/** Starts a stack before the file's tests and ends it after them. */
export function useStack(before: Before = async () => ({})): () => SuiteStack {
  let keeper: Keeper | undefined;
  let suite: SuiteStack | undefined;
  beforeAll(async () => {
    keeper = await startKeeper();
    suite = await startSuite(keeper, before);
  });
  afterAll(async () => {
    await suite?.stack.stop();
    await keeper?.stop();
  });
  return () => {
    if (suite === undefined) throw new Error("the stack is not up");
    return suite;
  };
}

async function startSuite(keeper: Keeper, before: Before): Promise<SuiteStack> {
  const signal = NO_END;
  const folder = await mkdtemp(join(tmpdir(), "cc-e2e-"));
  keeper.ownFolder(folder);
  const { env, platform, arch } = process;
  const progress = createProgress(process.stderr, { now: () => performance.now() });
  const tools = await findTools({ signal }, { env, platform, arch, progress });
  const stack = await startStack(
    {
      folder,
      signal,
      accessTokenSeconds: SUITE_TOKEN_SECONDS,
      ...startOtherCluster({ keeper, tools, progress }),
      ...(await before({ folder, keeper })),
    },
    {
      keeper,
      tools,
      env,
      progress,
      now: () => new Date(),
      findAssets: () => findAssets({ signal }, assetsDeps({ signal }, { env, progress, keeper })),
    },
  );
  const signIn = async (user: string): Promise<Person> => {
    const cli = await stack.cli(user);
    await cli.login(user, "browser");
    const proxy = await cli.proxy([stack.clusterId]);
    const env = { ...cli.env, KUBECONFIG: proxy.kubeconfigPath };
    return {
      cli,
      proxy,
      run: (tool, args, input) =>
        runToEnd(tools[tool], args, {
          env,
          signal,
          cwd: cli.env["HOME"] ?? folder,
          ...(input === undefined ? {} : { input }),
        }),
    };
  };
  return { stack, keeper, tools, folder, signIn };
}
