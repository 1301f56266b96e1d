import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { assetsDeps, findAssets } from "../../src/cluster/binaries/assets.ts";
import { cacheRoot } from "../../src/cluster/binaries/cache-folder.ts";
import { findTools } from "../../src/cluster/binaries/tools.ts";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { startControlPlane } from "../../src/cluster/control-plane/control-plane.ts";
import { startKeeper } from "../../src/process/keeper.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { SILENT } from "../../src/process/progress.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { type AdminKubectl, adminKubectl } from "../../src/stack/kubectl.ts";
import { notLocal } from "../support/provider.ts";
import { NO_END } from "../support/stack.ts";

const MAIN = fileURLToPath(new URL("../../src/demo/main.ts", import.meta.url));
const REPOSITORY = fileURLToPath(new URL("../../..", import.meta.url));
const DEADLINE_MS = 60_000;

/** Everything below it belongs to one test: the person's home, and where the demo's folder goes. */
let world: string;
let env: Record<string, string>;

beforeEach(async ({ skip }) => {
  skip(notLocal !== undefined, notLocal);
  const keeper = await startKeeper();
  world = await mkdtemp(join(tmpdir(), "cc-e2e-"));
  keeper.ownFolder(world);
  onTestFinished(() => keeper.stop());
  const home = join(world, "home");
  const temporary = join(world, "tmp");
  await mkdir(join(home, ".kube"), { recursive: true });
  await mkdir(temporary);
  await writeFile(join(home, ".kube", "config"), "# mine\n");
  // Kubernetes, kubectl and helm come from where they are already.
  const cache = join(cacheRoot(process.env), "..");
  const assets = process.env["KUBEBUILDER_ASSETS"];
  env = {
    HOME: home,
    TMPDIR: temporary,
    PATH: process.env["PATH"] ?? "",
    XDG_CACHE_HOME: cache,
    ...(assets === undefined ? {} : { KUBEBUILDER_ASSETS: assets }),
  };
});

const demoArgs = (args: readonly string[]): readonly string[] => ["--conditions=source", MAIN, ...args];

const demo = (args: readonly string[]): Promise<RunResult> =>
  runToEnd(process.execPath, demoArgs(args), { env, signal: NO_END, cwd: REPOSITORY });

/** Ids of the processes whose command line or environment names our world. */
async function processesOfWorld(): Promise<readonly string[]> {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name) && name !== String(process.pid));
  const found = await Promise.all(
    ids.map(async (id) => {
      const read = (file: string): Promise<string> => readFile(`/proc/${id}/${file}`, "utf8").catch(() => "");
      return `${await read("cmdline")}${await read("environ")}`.includes(world) ? [id] : [];
    }),
  );
  return found.flat();
}

/** Ids of a process and of everything it started, the keeper too, which names nothing of our world. */
async function familyOf(id: number): Promise<readonly number[]> {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const parents = await Promise.all(
    ids.map(async (one) => {
      const stat = await readFile(`/proc/${one}/stat`, "utf8").catch(() => "");
      // "pid (name, which may hold blanks) state parent …"
      return [one, Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])] as const;
    }),
  );
  const childrenOf = (parent: number): number[] =>
    parents.filter(([, of]) => of === parent).flatMap(([one]) => [one, ...childrenOf(one)]);
  return [id, ...childrenOf(id)];
}

function isAlive(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch {
    return false;
  }
}

/** No process and no file is left, and the person's own kubeconfig is as it was. */
async function expectNothingLeft(family: readonly number[] = []): Promise<void> {
  // After SIGKILL the keeper is still at work for a moment; files are looked at when it has ended as well.
  const isOver = async (): Promise<boolean> => !family.some(isAlive) && (await processesOfWorld()).length === 0;
  await pollUntil(async () => ((await isOver()) ? true : undefined), { signal: AbortSignal.timeout(DEADLINE_MS) });
  expect(await readdir(join(world, "tmp"))).toEqual([]);
  expect(await readdir(join(world, "home"))).toEqual([".kube"]);
  expect(await readdir(join(world, "home", ".kube"))).toEqual(["config"]);
  expect(await readFile(join(world, "home", ".kube", "config"), "utf8")).toBe("# mine\n");
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  stdout(): string;
  stderr(): string;
  /** Resolves when standard output or standard error shows it. */
  shows(text: string): Promise<void>;
}

function startDemo(args: readonly string[]): Running {
  const child = spawn(process.execPath, demoArgs(args), { env, cwd: REPOSITORY, stdio: ["ignore", "pipe", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString("utf8");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8");
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal })); // what it left behind may keep its output open
  });
  return {
    child,
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    shows: async (text) => {
      const signal = AbortSignal.timeout(DEADLINE_MS);
      await pollUntil(async () => (`${stdout}${stderr}`.includes(text) ? true : undefined), { signal });
    },
  };
}

/** For a test that is about the demo's own hops: Kubernetes is there already, once for all of them. */
async function besideExisting(): Promise<readonly string[]> {
  env["KUBECONFIG"] = (await existingCluster()).controlPlane.kubeconfigPath;
  return ["--context", "local"];
}

test("somebody whom nobody lets in is told so, with the exit code of that", async () => {
  const existing = await besideExisting();
  const { code, stdout, stderr } = await demo([...existing, "--user", "stranger", "--", "true"]);
  expect([code, stdout]).toEqual([4, ""]);
  expect(stderr).toMatch(/\nerror: \S+ knows no cluster demo that you may reach \(CC_CLUSTER_UNKNOWN\)\nhint: .*\n$/);
  await expectNothingLeft();
});

test("a command's output is alone on standard output, its exit code is the demo's, and nothing is left", async () => {
  const script = "kubectl auth whoami -o json; helm list -q; exit 7";
  const done = await demo(["--", "sh", "-c", script]);
  expect(done.code).toBe(7);
  expect(JSON.parse(done.stdout)).toMatchObject({
    kind: "SelfSubjectReview",
    status: { userInfo: { username: "demo:viewer", groups: ["demo:viewers", "system:authenticated"] } },
  });
  expect(done.stderr).toContain("6/6 ");
  await expectNothingLeft();
});

test("--user changes who the person is", async () => {
  const existing = await besideExisting();
  const done = await demo([...existing, "--user", "admin", "--", "kubectl", "create", "namespace", "x"]);
  expect(done).toMatchObject({ code: 0, stdout: "namespace/x created\n" });
  await expectNothingLeft();
});

test.for(["SIGINT", "SIGTERM", "SIGKILL"] as const)("without a command, %s ends everything", async (name) => {
  const running = startDemo([]);
  await running.shows("Ctrl-C stops and removes everything.");
  const kubeconfig = /export KUBECONFIG=(\S+)/.exec(running.stderr())?.[1] ?? "";
  const { kubectl } = await findTools(
    { signal: NO_END },
    { env, progress: SILENT, platform: process.platform, arch: process.arch },
  );
  const KUBECACHEDIR = join(world, "tmp", "cache-of-the-test");
  const asked = await runToEnd(kubectl, ["get", "namespaces", "-o", "name"], {
    env: { PATH: env["PATH"], HOME: join(world, "elsewhere"), KUBECONFIG: kubeconfig, KUBECACHEDIR },
    signal: NO_END,
  });
  expect(asked.stdout).toContain("namespace/default");
  await rm(KUBECACHEDIR, { recursive: true, force: true });
  const family = await familyOf(running.child.pid ?? 0);
  expect(family.length).toBeGreaterThan(5); // the demo, its keeper, Kubernetes and the hops
  running.child.kill(name);
  expect(await running.ended).toEqual(name === "SIGKILL" ? { code: null, signal: name } : { code: 0, signal: null });
  expect(running.stdout()).toBe("");
  await expectNothingLeft(family);
});

test("a signal while it starts ends what has started", async () => {
  const running = startDemo([]);
  await running.shows("1/6");
  running.child.kill("SIGTERM");
  expect(await running.ended).toEqual({ code: 143, signal: null });
  await expectNothingLeft();
});

test("a command gets the signal, and what it started ends with a killed demo", async () => {
  const existing = await besideExisting();
  const passed = startDemo([...existing, "--", "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done"]);
  await passed.shows("up");
  passed.child.kill("SIGTERM");
  expect(await passed.ended).toEqual({ code: 9, signal: null });
  await expectNothingLeft();
  const killed = startDemo(["--", "sh", "-c", "sleep 1000 & echo up; wait"]);
  await killed.shows("up");
  const family = await familyOf(killed.child.pid ?? 0);
  killed.child.kill("SIGKILL");
  await killed.ended;
  await expectNothingLeft(family);
});

test("a command that does not exist is named, with an exit code of its own", async () => {
  const existing = await besideExisting();
  const done = await demo([...existing, "--", "no-such-command"]);
  expect(done.code).toBeGreaterThan(0);
  expect(done.stdout).toBe("");
  expect(done.stderr).toMatch(/error: The command no-such-command cannot be started/);
  await expectNothingLeft();
});

test("--context uses a cluster that is there, and leaves it and the kubeconfig as they were", async () => {
  const { controlPlane, kubectl } = await existingCluster();
  const before = await kubectl(["get", "clusterroles,clusterrolebindings,namespaces", "-o", "name"]);
  const kubeconfig = await readFile(controlPlane.kubeconfigPath, "utf8");
  env["KUBECONFIG"] = controlPlane.kubeconfigPath;
  const whoami = ["--", "kubectl", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
  expect(await demo(["--context", "local", ...whoami])).toMatchObject({ code: 0, stdout: "demo:viewer" });
  const running = startDemo(["--context", "local"]);
  await running.shows("Ctrl-C stops and removes everything.");
  running.child.kill("SIGINT");
  expect(await running.ended).toEqual({ code: 0, signal: null });
  expect(await kubectl(["get", "clusterroles,clusterrolebindings,namespaces", "-o", "name"])).toBe(before);
  expect(await readFile(controlPlane.kubeconfigPath, "utf8")).toBe(kubeconfig);

  await kubectl(["create", "namespace", "cluster-connect"]);
  const refused = await demo(["--context", "local", ...whoami]);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain("error: The cluster has a namespace cluster-connect already");
  expect(await kubectl(["get", "namespace", "cluster-connect", "-o", "name"])).toBe("namespace/cluster-connect\n");

  const unknown = await demo(["--context", "nowhere", ...whoami]);
  expect(unknown.stderr).toContain("error: The kubeconfig has no usable context nowhere (CC_KUBECONFIG_INVALID)");
});

interface ExistingCluster {
  readonly controlPlane: Cluster;
  readonly kubectl: AdminKubectl;
  stop(): Promise<void>;
}

let existing: Promise<ExistingCluster> | undefined;
afterAll(async () => await (await existing)?.stop());

/** A control plane that is there before the demo, outside of its folders. */
function existingCluster(): Promise<ExistingCluster> {
  existing ??= startExisting();
  return existing;
}

async function startExisting(): Promise<ExistingCluster> {
  const keeper = await startKeeper();
  const folder = await mkdtemp(join(tmpdir(), "cc-e2e-"));
  keeper.ownFolder(folder);
  const { platform, arch } = process;
  const signal = NO_END;
  const findDeps = { env: process.env, progress: SILENT };
  const assets = await findAssets({ signal }, assetsDeps({ signal }, { ...findDeps, keeper }));
  const tools = await findTools({ signal }, { ...findDeps, platform, arch });
  const controlPlane = await startControlPlane({ folder, signal }, { keeper, assets, now: () => new Date() });
  const kubectl = adminKubectl(controlPlane, { folder, signal: () => signal }, { tools, env: process.env });
  return { controlPlane, kubectl, stop: () => keeper.stop() };
}

test.for([
  [["--bogus"], "error: Unknown option '--bogus' (CC_USAGE)"],
  [["--user", "nobody"], "error: There is no demo user nobody (CC_USAGE)"],
  [["kubectl", "get", "pods"], "error: A command comes after --: demo -- kubectl … (CC_USAGE)"],
] as const)("%j is one line and a hint, before anything starts", async ([args, line]) => {
  const done = await demo(args);
  expect(done).toMatchObject({ code: 2, stdout: "" });
  expect(done.stderr.split("\n")).toEqual([line, expect.stringMatching(/^hint: /), ""]);
  await expectNothingLeft();
});
