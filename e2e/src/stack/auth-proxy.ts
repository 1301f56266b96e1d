import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { onFreePort, startDaemon } from "../process/daemon.ts";
import type { Keeper, Program } from "../process/keeper.ts";
import { type LogEvent, readLogEvents } from "../process/log-events.ts";
import { writeAuthentication } from "./authentication.ts";
import { CLUSTER_AUDIENCE } from "./issuer.ts";
import { repositoryFile } from "./repository-file.ts";

/** How to start the auth proxy. */
export interface AuthProxyOptions {
  /** A folder of its own. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Where its spans go; nowhere by default. */
  readonly tracing?: { readonly endpoint: string };
  readonly clusterId: string;
  readonly issuerUrl: string;
  /** May hold `{cluster}`; {@link CLUSTER_AUDIENCE} by default. */
  readonly audience?: string;
  readonly apiserver: { readonly url: string; readonly caPem: string; readonly tokenFile: string };
  /** More settings of its file. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** A running auth proxy. */
export interface AuthProxy {
  readonly socket: string;
  readonly healthUrl: string;
  /** The authority that it publishes for callers. */
  readonly caFile: string;
  readonly program: Program;
  /** Its log so far. */
  logEvents(): Promise<readonly LogEvent[]>;
  stop(): Promise<void>;
}

const MAIN: string = repositoryFile("apps/auth-proxy/src/main.ts");

const SOCKET = "proxy.sock";

/** The socket of an auth proxy in this folder. */
export function authProxySocket(folder: string): string {
  return join(folder, SOCKET);
}

/** Starts the auth proxy as a process and resolves when it has proved its account and serves. */
export async function startAuthProxy(options: AuthProxyOptions, deps: { readonly keeper: Keeper }): Promise<AuthProxy> {
  const { folder, clusterId, apiserver, tracing } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const authenticationPath = join(folder, "authentication.json");
  const apiserverCaPath = join(folder, "apiserver-ca.crt");
  const { issuerUrl, audience = CLUSTER_AUDIENCE } = options;
  await writeAuthentication(authenticationPath, { issuerUrl, audience });
  await writeFile(apiserverCaPath, apiserver.caPem);
  const socket = authProxySocket(folder);
  const caFile = join(folder, "ca.crt");
  return onFreePort(async (port, attempt) => {
    const { program } = await startDaemon(
      {
        name: "auth-proxy",
        main: MAIN,
        folder,
        logName: `auth-proxy-${attempt}`,
        config: {
          clusterId,
          listen: { socket },
          stateDir: join(folder, "state"),
          publishCaPath: caFile,
          authenticationConfig: authenticationPath,
          allowInsecureLoopbackIssuer: true,
          upstream: { url: apiserver.url, caFile: apiserverCaPath, tokenFile: apiserver.tokenFile },
          health: { host: "127.0.0.1", port },
          drainSeconds: 1,
          ...(tracing === undefined ? {} : { tracing }),
          ...options.settings,
        },
        readyEvent: "serving",
      },
      options,
      deps,
    );
    return {
      socket,
      healthUrl: `http://127.0.0.1:${port}/readyz`,
      caFile,
      program,
      logEvents: () => readLogEvents(program.logPath),
      stop: async () => void (await program.stop()),
    };
  });
}
