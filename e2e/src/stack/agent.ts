import { cp } from "node:fs/promises";
import { basename, join } from "node:path";
import { startDaemon } from "../process/daemon.ts";
import type { Keeper, Program } from "../process/keeper.ts";
import type { AuthProxy } from "./auth-proxy.ts";
import type { Relay } from "./relay.ts";
import { repositoryFile } from "./repository-file.ts";

/** How to run an agent. */
export interface AgentOptions {
  /** A folder of its own. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Where its spans go; nowhere by default. */
  readonly tracing?: { readonly endpoint: string };
  readonly relay: Pick<Relay, "url" | "caFile">;
  readonly authProxy: Pick<AuthProxy, "socket" | "healthUrl" | "caFile">;
  /** Where it finds the auth proxy instead: `host:port`. */
  readonly authProxyAddress?: string;
  /** One-time code for the first start. */
  readonly code: string;
  /** Upstreams other than the auth proxy, `host:port` by name. */
  readonly upstreams?: Readonly<Record<string, string>>;
  /** More of its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where it serves `/metrics`; nowhere by default. */
  readonly healthPort?: number;
  /** The agent's own by default. */
  readonly limits?: Readonly<Record<string, number>>;
}

/** An agent that can be stopped and started again with the same identity. */
export interface Agent {
  readonly program: Program | undefined;
  /** Resolves when its tunnel is open. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const MAIN: string = repositoryFile("apps/agent/src/main.ts");
const START_TIMEOUT_MS = 120_000;

/** Starts an agent and resolves when its tunnel is open. */
export async function startAgent(options: AgentOptions, deps: { readonly keeper: Keeper }): Promise<Agent> {
  const { folder, relay, authProxy, upstreams = {}, healthPort, tracing, limits } = options;
  const config = {
    relay: { urls: [relay.url], ...(relay.caFile === undefined ? {} : { caFile: relay.caFile }) },
    code: options.code,
    stateDir: join(folder, "state"),
    authProxy: {
      address: options.authProxyAddress ?? authProxy.socket,
      healthUrl: authProxy.healthUrl,
      authoritiesFile: authProxy.caFile,
    },
    upstreams,
    ...(tracing === undefined ? {} : { tracing }),
    ...(healthPort === undefined ? {} : { health: { port: healthPort } }),
    ...(limits === undefined ? {} : { limits }),
    drainSeconds: 1,
  };
  let program: Program | undefined;
  let run = 0;
  const start = async (): Promise<void> => {
    run += 1;
    const own = { name: "agent", main: MAIN, folder, config, readyEvent: "tunnel.open", logName: `agent-${run}` };
    const spec = options.env === undefined ? own : { ...own, env: options.env };
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(START_TIMEOUT_MS)]);
    program = (await startDaemon(spec, { signal }, deps)).program;
  };
  await start();
  return {
    get program() {
      return program;
    },
    start,
    stop: async () => {
      await program?.stop();
      program = undefined;
    },
  };
}

/** Copies an agent's identity: key and enrollment, not the records of the process that lives by them. */
export async function copyAgentState(from: string, to: string): Promise<void> {
  const isIdentity = (path: string): boolean => !/\.sock$|^instance-/.test(basename(path));
  await cp(from, to, { recursive: true, filter: isIdentity });
}
