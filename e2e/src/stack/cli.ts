import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compileCache } from "../process/compile-cache.ts";
import type { Keeper, Program } from "../process/keeper.ts";
import { waitForLogText } from "../process/log-events.ts";
import { pollUntil } from "../process/poll.ts";
import { type RunResult, runToEnd } from "../process/run-to-end.ts";
import { signIn } from "./browser.ts";
import { failureShown } from "./failure-shown.ts";
import { RELAY_AUDIENCE } from "./issuer.ts";
import type { Relay } from "./relay.ts";
import { repositoryFile } from "./repository-file.ts";

/** How a person signs in. */
export type SignInFlow = "browser" | "device";

/** How to set a person's CLI up. */
export interface CliOptions {
  /** Stands for the person's home. */
  readonly folder: string;
  readonly relay: Pick<Relay, "url" | "caFile">;
  /** Files with the authorities of clusters, by id: the stack knows them past the relay. */
  readonly authorities?: Readonly<Record<string, string>>;
  /** `PATH` with kubectl and helm. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** Where its spans go; nowhere by default. */
  readonly tracing?: { readonly endpoint: string };
  /** More of its environment, such as tokens instead of a login. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A `cluster-connect proxy` that is ready. */
export interface LocalProxy {
  readonly port: number;
  readonly kubeconfigPath: string;
  readonly program: Program;
  /** All that its screen has shown so far. */
  screen(): Promise<string>;
  stop(): Promise<void>;
}

/** The CLI of one person, with settings, logins and kubeconfigs of its own. */
export interface Cli {
  readonly env: Readonly<Record<string, string>>;
  /** How the CLI is started: the program and its first arguments. */
  readonly command: readonly [string, ...string[]];
  run(args: readonly string[], options?: CliRunOptions): Promise<RunResult>;
  /** @param clusters to sign in for ahead of time. */
  login(user: string, flow: SignInFlow, clusters?: readonly string[]): Promise<void>;
  proxy(clusters: readonly string[], options?: ProxyOptions): Promise<LocalProxy>;
}

interface ProxyOptions {
  /** Any free one without it. */
  readonly port?: number;
  /** A new file without it. */
  readonly kubeconfigPath?: string;
}

interface CliRunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
}

const MAIN: string = repositoryFile("apps/cli/src/main.ts");
const LAUNCHER = "cluster-connect.mjs";

/** Starts the CLI with its folders here, from whichever environment: kubectl starts it, too. */
function launcher(folders: Readonly<Record<string, string>>): string {
  const cache = compileCache(process.env);
  const lines = [
    ...(cache === undefined
      ? []
      : ['import { enableCompileCache } from "node:module";', `enableCompileCache(${JSON.stringify(cache)});`]),
    `Object.assign(process.env, ${JSON.stringify(folders)});`,
    `await import(${JSON.stringify(`file://${MAIN}`)});`,
  ];
  return `${lines.join("\n")}\n`;
}

/** Prepares a person's CLI, not signed in yet. */
export async function createCli(options: CliOptions, deps: { readonly keeper: Keeper }): Promise<Cli> {
  const { folder, relay, signal } = options;
  const temporary = join(folder, "tmp");
  await mkdir(temporary, { recursive: true, mode: 0o700 });
  const folders = { XDG_CONFIG_HOME: join(folder, "config"), XDG_STATE_HOME: join(folder, "state") };
  const path = join(folder, LAUNCHER);
  await writeFile(path, launcher(folders), { mode: 0o600 });
  const command = [process.execPath, "--conditions=source", path] as const;
  const env = {
    ...folders,
    HOME: folder,
    TMPDIR: temporary,
    // Nothing of a suite goes into the key store of the person who runs it.
    CLUSTER_CONNECT_TOKEN_STORE: "file",
    CLUSTER_CONNECT_RELAY_AUDIENCE: RELAY_AUDIENCE,
    CLUSTER_CONNECT_CLUSTER_CA_FILE: Object.entries(options.authorities ?? {})
      .map(([cluster, path]) => `${cluster}=${path}`)
      .join(" "),
    PATH: options.path,
    KUBECACHEDIR: join(folder, "kube-cache"),
    ...options.env,
    ...(options.tracing === undefined ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: options.tracing.endpoint }),
  };
  const [program, ...first] = command;
  const runs = new Map<string, number>();
  const start = (name: string, args: readonly string[]): Promise<Program> => {
    const run = (runs.get(name) ?? 0) + 1;
    runs.set(name, run);
    const logPath = join(folder, `${name}-${run}.log`);
    return deps.keeper.start({ name, command: program, args: [...first, ...args], env, cwd: folder, logPath });
  };
  return {
    env,
    command,
    run: (args, more = {}) =>
      runToEnd(program, [...first, ...args], {
        env: { ...env, ...more.env },
        cwd: more.cwd ?? folder,
        signal,
        ...(more.input === undefined ? {} : { input: more.input }),
      }),
    login: (user, flow, clusters = []) => login({ user, flow, clusters }, relay, signal, start),
    proxy: (clusters, more = {}) => {
      const id = `${clusters.join("-")}-${(runs.get("proxy") ?? 0) + 1}`;
      const readyPath = join(folder, `${id}.ready`);
      const kubeconfigPath = more.kubeconfigPath ?? join(folder, `${id}.kubeconfig`);
      return startProxy(clusters, { port: more.port ?? 0, kubeconfigPath, readyPath, signal }, start);
    },
  };
}

type Start = (name: string, args: readonly string[]) => Promise<Program>;

interface LoginRun {
  readonly user: string;
  readonly flow: SignInFlow;
  readonly clusters: readonly string[];
}

async function login(
  { user, flow, clusters }: LoginRun,
  relay: CliOptions["relay"],
  signal: AbortSignal,
  start: Start,
): Promise<void> {
  const how = flow === "browser" ? "--no-browser" : "--device-code";
  const authority = relay.caFile === undefined ? [] : ["--ca-file", relay.caFile];
  const names = clusters.flatMap((name) => ["-n", name]);
  const program = await start("login", ["login", "--relay", relay.url, ...authority, how, ...names]);
  const address = flow === "browser" ? /https?:\S+response_type=\S+/ : /https?:\S+user_code=\S+/;
  await signIn(await waitForLogText(program, address, { signal }), user, { signal }, { fetch });
  const { code } = await program.ended;
  if (code === 0) return;
  throw failureShown(await readFile(program.logPath, "utf8"), `cluster-connect login as ${user} ended with ${code}`);
}

interface ProxyRun {
  readonly port: number;
  readonly kubeconfigPath: string;
  readonly readyPath: string;
  readonly signal: AbortSignal;
}

async function startProxy(clusters: readonly string[], run: ProxyRun, start: Start): Promise<LocalProxy> {
  const { port, kubeconfigPath, readyPath, signal } = run;
  const names = clusters.flatMap((name) => ["-n", name]);
  const program = await start("proxy", [
    ...["proxy", ...names, "--port", String(port)],
    ...["-f", kubeconfigPath, "--ready-file", readyPath],
  ]);
  const screen = (): Promise<string> => readFile(program.logPath, "utf8");
  const ended = program.ended.then(async ({ code }) => {
    throw failureShown(await screen(), `cluster-connect proxy ended with ${code}`);
  });
  const stopWaiting = new AbortController();
  const waiting = AbortSignal.any([signal, stopWaiting.signal]);
  const text = await Promise.race([ended, readFileWhenThere(readyPath, waiting)]).finally(() => stopWaiting.abort());
  ended.catch(() => {}); // from now on it may end
  const ready: unknown = JSON.parse(text);
  return {
    port: Number(typeof ready === "object" && ready !== null && "port" in ready ? ready.port : 0),
    kubeconfigPath,
    program,
    screen,
    stop: async () => void (await program.stop()),
  };
}

function readFileWhenThere(path: string, signal: AbortSignal): Promise<string> {
  return pollUntil(
    async () => {
      const text = await readFile(path, "utf8").catch(() => "");
      return text === "" ? undefined : text;
    },
    { signal },
  );
}
