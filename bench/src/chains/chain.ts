import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Running } from "../process/processes.ts";

/** The two far ends that a chain leads to: separate processes, so that bulk is not in the way of a ping. */
export interface Ends {
  readonly quiet: number;
  readonly bulk: number;
}

/** One of the three processes that bytes pass; a hop may be several processes of one kind. */
export type HopName = "near" | "middle" | "far";

/** Three hops between two loopback ports and the far ends. */
export interface Chain {
  readonly name: string;
  /** Local ports that lead to the far ends. */
  readonly ports: Ends;
  pids(hop: HopName): Promise<readonly number[]>;
  /** The process of a hop, where it is a single one. */
  readonly hops: Readonly<Partial<Record<HopName, Running>>>;
  stop(): Promise<void>;
}

export const HOPS: readonly HopName[] = ["near", "middle", "far"];

const CONNECT_TIMEOUT_MS = 10_000;
const POLL_MS = 20;

/** Waits until something listens on a port. */
export async function listening(port: number): Promise<void> {
  const deadline = performance.now() + CONNECT_TIMEOUT_MS;
  while (!(await canConnect(port))) {
    if (performance.now() > deadline) throw new Error(`nothing listens on port ${port}`);
    await delay(POLL_MS);
  }
}

function canConnect(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host: "127.0.0.1", port });
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  void promise.then(() => socket.destroy());
  return promise;
}
