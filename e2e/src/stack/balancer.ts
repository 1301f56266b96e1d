import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import type { Keeper, Program } from "../process/keeper.ts";
import { pollUntil } from "../process/poll.ts";

/** In turns, by least load, or by the dialer's address. */
export type Balance = "roundrobin" | "leastconn" | "source";

/** How to spread channels over relays; in turns at first. */
export interface BalancerOptions {
  /** A folder of its own. */
  readonly folder: string;
  readonly port: number;
  readonly upstreamPorts: readonly number[];
  readonly signal: AbortSignal;
}

export interface Balancer {
  /** Spreads in another way from now on; it starts again, so that every channel through it is lost. */
  use(balance: Balance): Promise<void>;
  stop(): Promise<void>;
}

const HAPROXY = "/usr/sbin/haproxy";
const LISTEN_TIMEOUT_MS = 60_000;

/** Why there is no balancer on this machine; undefined when there is one. */
export function missingBalancer(): string | undefined {
  return existsSync(HAPROXY) ? undefined : "haproxy is not installed (Debian's package haproxy)";
}

/** Starts haproxy in TCP mode: it asks each relay's `/readyz` and knows nothing else of what passes. */
export async function startBalancer(options: BalancerOptions, deps: { readonly keeper: Keeper }): Promise<Balancer> {
  const { folder, port, upstreamPorts, signal } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  let runs = 0;
  const start = async (balance: Balance): Promise<Program> => {
    runs += 1;
    const configPath = join(folder, "haproxy.cfg");
    await writeFile(configPath, configuration(port, upstreamPorts, balance));
    const started = await deps.keeper.start({
      name: "haproxy",
      command: HAPROXY,
      args: ["-db", "-f", configPath],
      env: { PATH: "/usr/bin:/bin" },
      cwd: folder,
      logPath: join(folder, `haproxy-${runs}.log`),
    });
    const soon = AbortSignal.any([signal, AbortSignal.timeout(LISTEN_TIMEOUT_MS)]);
    await pollUntil(async () => ((await listens(port)) ? true : undefined), { signal: soon });
    return started;
  };
  let program = await start("roundrobin");
  return {
    async use(balance) {
      await program.stop();
      program = await start(balance);
    },
    stop: async () => void (await program.stop()),
  };
}

function configuration(port: number, upstreamPorts: readonly number[], balance: Balance): string {
  // By address a relay that is taken for lost once moves every dialer, which is no scene of ours: there it takes longer.
  const often = balance === "source" ? "inter 2s fall 10" : "inter 200ms fastinter 100ms fall 1";
  const check = `check check-ssl verify none ${often} rise 1`;
  return `defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  retries 3
  option redispatch 1
frontend public
  bind 127.0.0.1:${port}
  default_backend relays
backend relays
  balance ${balance}
  option httpchk GET /readyz
${upstreamPorts.map((upstream, index) => `  server relay-${index + 1} 127.0.0.1:${upstream} ${check}`).join("\n")}
`;
}

function listens(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, "127.0.0.1");
  const settle = (result: boolean): void => {
    socket.destroy();
    resolve(result);
  };
  socket.once("connect", () => settle(true));
  socket.once("error", () => settle(false));
  return promise;
}
