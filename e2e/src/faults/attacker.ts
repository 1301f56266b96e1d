import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { startDaemon } from "../process/daemon.ts";
import type { Keeper, Program } from "../process/keeper.ts";
import { type LogEvent, waitForLogEvent } from "../process/log-events.ts";

/** An attack by a hostile dialer, in a process of its own so that it takes no other one's time. */
export interface AttackOptions {
  /** A folder of its own. */
  readonly folder: string;
  /** The relay, with TLS, or another port. */
  readonly relay: string;
  readonly caFile: string;
  readonly attack: Attack;
}

/** How far a handshake goes before it stops: TCP, half a ClientHello, half a request after TLS, a channel without HELLO. */
export type HalfOpen = "silent" | "half-hello" | "half-request" | "upgraded";

export type Attack =
  | { readonly kind: HalfOpen; readonly count: number; readonly addresses: readonly string[] }
  | { readonly kind: "small-frames"; readonly count: number; readonly token: string; readonly cluster: string }
  | { readonly kind: "resets"; readonly count: number; readonly token: string; readonly cluster: string }
  | { readonly kind: "pings"; readonly count: number; readonly token: string }
  | { readonly kind: "headers"; readonly count: number; readonly lines: number; readonly bytes: number }
  | { readonly kind: "pipelined"; readonly count: number; readonly bytes: number; readonly path: string }
  | {
      readonly kind: "redialled";
      readonly count: number;
      readonly bytes: number;
      readonly path: string;
      readonly rounds: number;
    }
  | { readonly kind: "slow-heads"; readonly count: number; readonly seconds: number }
  | { readonly kind: "pings-before-hello"; readonly bytes: number };

export interface Attacker {
  readonly program: Program;
  /** Resolves with what came of it when all is sent, or stands. */
  readonly done: Promise<LogEvent>;
  /** Drops everything. */
  stop(): Promise<void>;
}

const MAIN: string = fileURLToPath(new URL("./attacker/main.ts", import.meta.url));
const TIMEOUT_MS = 120_000;

/** Loopback addresses other than 127.0.0.1, where the callers are. */
export function loopbackAddresses(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `127.0.${1 + Math.floor(index / 200)}.${1 + (index % 200)}`);
}

export async function startAttacker(options: AttackOptions, deps: { readonly keeper: Keeper }): Promise<Attacker> {
  const { folder, relay, caFile, attack } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const spec = { name: attack.kind, main: MAIN, folder, config: { relay, caFile, attack } };
  const logName = attack.kind;
  const { program } = await startDaemon({ ...spec, readyEvent: "attack.ready", logName }, { signal }, deps);
  const done = waitForLogEvent(program, ({ event }) => event === "attack.done", { signal });
  done.catch(() => undefined);
  return { program, done, stop: async () => void (await program.stop()) };
}
