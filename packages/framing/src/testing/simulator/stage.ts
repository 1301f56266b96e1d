import type { InstanceId } from "@cluster-connect/protocol";
import { createBudget } from "../../bytes/budget.ts";
import { type SuperviseOptions, supervise } from "../../dial/supervise.ts";
import type { SessionDeps } from "../../session/deps.ts";
import type { SessionBudgets } from "../../session/options.ts";
import type { Session } from "../../session/session.ts";
import type { FakeClock } from "../fake-clock.ts";
import type { Network } from "./network.ts";
import type { SeededRandom } from "./random.ts";

/** Surroundings of every process of a world. */
export interface Stage {
  readonly clock: FakeClock;
  readonly random: SeededRandom;
  readonly network: Network;
  readonly deps: SessionDeps;
  /** Ends everything. */
  readonly stopped: AbortSignal;
  /** Memory of the process of this name; the same for all its sessions. */
  budgetsOf(name: string): Required<SessionBudgets>;
  /** Processes that took the place of killed ones, which said so. */
  readonly successors: Map<InstanceId, InstanceId>;
  /** Bytes that processes still count as held. */
  readonly heldBytes: number;
}

const WINDOWS_BYTES = 64 * 1_048_576;

export function createStage(
  core: Pick<Stage, "clock" | "random" | "network" | "deps" | "stopped">,
  buffersBytes: (name: string) => number,
): Stage {
  const byName = new Map<string, Required<SessionBudgets>>();
  return {
    ...core,
    successors: new Map(),
    budgetsOf(name) {
      const found = byName.get(name) ?? {
        initialWindows: createBudget(WINDOWS_BYTES),
        windows: createBudget(WINDOWS_BYTES),
        buffers: createBudget(buffersBytes(name)),
      };
      byName.set(name, found);
      return found;
    },
    get heldBytes() {
      return [...byName.values()].reduce(
        (sum, budgets) => sum + Object.values(budgets).reduce((held, { usedBytes }) => held + Math.abs(usedBytes), 0),
        0,
      );
    },
  };
}

/** Keeps one session up for as long as the process lives; `dial` throws where no relay can be reached. */
export function keepUp(
  stage: Stage,
  dial: () => Session,
  options: Pick<SuperviseOptions, "onReady" | "atStake"> & { readonly signal: AbortSignal },
): void {
  const backoff = { baseDelayMs: 100, maxDelayMs: 2_000 };
  const begin = (): Promise<Session> => Promise.resolve().then(dial);
  supervise(begin, { ...options, backoff }, { clock: stage.clock, random: stage.random.next }).catch(() => {});
}
