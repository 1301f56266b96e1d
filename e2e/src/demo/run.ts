import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeFailure } from "@cluster-connect/service";
import { assetsDeps, findAssets } from "../cluster/binaries/assets.ts";
import { findTools, type Tools } from "../cluster/binaries/tools.ts";
import { useExisting } from "../cluster/existing.ts";
import { NODE_IMAGE } from "../cluster/node/image.ts";
import { provideNodeCluster } from "../cluster/node/provide.ts";
import { type Keeper, startKeeper } from "../process/keeper.ts";
import { createProgress, type Progress, type ProgressTarget } from "../process/progress.ts";
import type { LocalProxy } from "../stack/cli.ts";
import type { AdminKubectl } from "../stack/kubectl.ts";
import { type Stack, type StackOptions, startStack } from "../stack/stack.ts";
import { closingText } from "./closing-text.ts";
import { runCommand } from "./command.ts";
import { type DemoRequest, parseDemoArguments, USAGE } from "./command-line.ts";
import { type Interrupts, listenForInterrupts, type SignalSource } from "./interrupts.ts";
import { showNewLines, whicheverEnds } from "./watch.ts";

/** The process, as an argument. */
export interface DemoDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly signals: SignalSource;
  readonly stdout: (text: string) => void;
  readonly stderr: ProgressTarget;
  readonly cwd: string;
  readonly onTerminal: boolean;
  readonly platform: NodeJS.Platform;
  readonly arch: NodeJS.Architecture;
  /** 0 for root; undefined where there are no user ids. */
  readonly uid: number | undefined;
}

type RunRequest = Extract<DemoRequest, { kind: "run" }>;

/** The pod to exec into. */
const POD = "shell";

const SIGNAL_NUMBERS: Readonly<Partial<Record<NodeJS.Signals, number>>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

/** Runs the demo. @returns the exit code. */
export async function runDemo(argv: readonly string[], deps: DemoDeps): Promise<number> {
  const interrupts = listenForInterrupts(deps.signals);
  try {
    const request = parseDemoArguments(argv);
    if (request.kind === "help") {
      deps.stdout(`${USAGE}\n`);
      return 0;
    }
    return await runWithKeeper(request, interrupts, deps);
  } catch (error) {
    if (interrupts.signal.aborted) return 128 + (SIGNAL_NUMBERS[interrupts.received ?? "SIGINT"] ?? 0);
    const { text, exitCode } = describeFailure(error);
    deps.stderr.write(`${text}\n`);
    return exitCode;
  }
}

/** The keeper ends the processes and removes the folder in any case from here on. */
async function runWithKeeper(request: RunRequest, interrupts: Interrupts, deps: DemoDeps): Promise<number> {
  const progress = createProgress(deps.stderr, { now: () => performance.now() });
  await using keeper = await startKeeper();
  const folder = await mkdtemp(join(tmpdir(), "cc-demo-"));
  keeper.ownFolder(folder);
  const { signal } = interrupts;
  const { env, platform, arch } = deps;
  const tools = await findTools({ signal }, { env, platform, arch, progress });
  const stack = await start(request, { folder, signal }, { tools, keeper, progress, demo: deps });
  try {
    if (request.node) await progress.during(`a pod named ${POD}`, () => startPod(stack.kubectlAsAdmin));
    const cli = await stack.cli(request.user);
    const proxy = await progress.during(`6/6 signing in as ${request.user}, and the way to the cluster`, async () => {
      await cli.login(request.user, "browser");
      return cli.proxy([stack.clusterId]);
    });
    return await use(request, { folder, stack, proxy, tools }, { keeper, interrupts, demo: deps });
  } finally {
    // A cluster that goes on must be left as it was; everything else is the keeper's.
    if (request.context !== undefined) await stack.stop();
  }
}

interface StartDeps {
  readonly tools: Tools;
  readonly keeper: Keeper;
  readonly progress: Progress;
  readonly demo: DemoDeps;
}

async function start(
  request: RunRequest,
  { folder, signal }: { readonly folder: string; readonly signal: AbortSignal },
  { tools, keeper, progress, demo }: StartDeps,
): Promise<Stack> {
  const { context, node } = request;
  const { env } = demo;
  const own = { keeper, tools, env, progress, now: () => new Date() };
  const startCluster: StackOptions["startCluster"] = (options) => provideNodeCluster(options, { ...own, host: demo });
  const cluster = context === undefined ? undefined : await useExisting(context, { folder, signal }, { tools, env });
  return startStack(
    { folder, signal, ...(cluster === undefined ? {} : { cluster }), ...(node ? { startCluster } : {}) },
    {
      ...own,
      findAssets: () => findAssets({ signal }, assetsDeps({ signal }, { env, progress, keeper })),
    },
  );
}

async function startPod(kubectl: AdminKubectl): Promise<void> {
  await kubectl(["run", POD, `--image=${NODE_IMAGE}`, "--image-pull-policy=Never"]);
  await kubectl(["wait", "--for=condition=Ready", `pod/${POD}`, "--timeout=60s"]);
}

interface UseDeps {
  readonly keeper: Keeper;
  readonly interrupts: Interrupts;
  readonly demo: DemoDeps;
}

/** The chain that has started, and the way into it. */
interface StartedDemo {
  readonly folder: string;
  readonly stack: Stack;
  readonly proxy: LocalProxy;
  readonly tools: Tools;
}

async function use(request: RunRequest, { folder, stack, proxy, tools }: StartedDemo, deps: UseDeps): Promise<number> {
  const { interrupts, demo } = deps;
  const { command, user } = request;
  const showing = new AbortController();
  const said = showNewLines(proxy.program.logPath, { signal: showing.signal }, (line) =>
    demo.stderr.write(`${line}\n`),
  );
  try {
    if (command.length > 0) {
      const env = commandEnv(folder, proxy, tools, demo.env);
      return await runCommand(command, { env, cwd: demo.cwd, onTerminal: demo.onTerminal }, deps);
    }
    demo.stderr.write(closingText({ user, pod: request.node ? POD : undefined }, proxy, tools, demo.env));
    await whicheverEnds([proxy.program, ...programsOf(stack)], interrupts);
    return 0;
  } finally {
    showing.abort();
    await said;
  }
}

function programsOf({ issuer, relay, authProxy, agent }: Stack): readonly LocalProxy["program"][] {
  return [issuer.program, relay.program, authProxy.program, ...(agent.program === undefined ? [] : [agent.program])];
}

/** The person's own environment, with what would be written below their home moved into our folder. */
function commandEnv(folder: string, proxy: LocalProxy, tools: Tools, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    ...env,
    PATH: tools.path,
    KUBECONFIG: proxy.kubeconfigPath,
    KUBECACHEDIR: join(folder, "kube-cache"),
    HELM_CACHE_HOME: join(folder, "helm", "cache"),
    HELM_CONFIG_HOME: join(folder, "helm", "config"),
    HELM_DATA_HOME: join(folder, "helm", "data"),
  };
}
