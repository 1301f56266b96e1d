import { networkInterfaces } from "node:os";
import { type Clock, onAbort, SYSTEM_CLOCK } from "@cluster-connect/base";

/** Why the network may not be what it was. */
export type WakeReason = "slept" | "interfacesChanged";

export interface WakeOptions {
  readonly signal: AbortSignal;
  /** Time between two looks. */
  readonly intervalMs?: number;
}

export interface WakeDeps {
  readonly clock: Clock;
  /** Milliseconds on the wall: unlike the clock it goes on while the machine sleeps. */
  readonly wallNow: () => number;
  /** The addresses of this machine, as one text. */
  readonly addresses: () => string;
}

/** The machine's own clock and interfaces. */
export const SYSTEM_WAKE_DEPS: WakeDeps = {
  clock: SYSTEM_CLOCK,
  wallNow: Date.now,
  addresses: () =>
    Object.entries(networkInterfaces())
      .flatMap(([name, list]) =>
        (list ?? []).filter(({ internal }) => !internal).map(({ address }) => `${name} ${address}`),
      )
      .sort()
      .join("\n"),
};

const INTERVAL_MS = 2_000;
/** A look that comes this much late tells that the machine slept. */
const SLEPT_MS = 5_000;

/** Watches for sleep and for changes of the network until the signal is aborted. */
export function watchWake(
  options: WakeOptions,
  onWake: (reason: WakeReason) => void,
  deps: WakeDeps = SYSTEM_WAKE_DEPS,
): void {
  const { signal, intervalMs = INTERVAL_MS } = options;
  let polledAt = deps.wallNow();
  let addresses = deps.addresses();

  function poll(): void {
    const now = deps.wallNow();
    const found = deps.addresses();
    const slept = now - polledAt > intervalMs + SLEPT_MS;
    const changed = found !== addresses;
    polledAt = now;
    addresses = found;
    if (slept) onWake("slept");
    else if (changed) onWake("interfacesChanged");
    schedule();
  }

  function schedule(): void {
    if (signal.aborted) return;
    const timer = deps.clock.setTimer(intervalMs, () => {
      leave();
      poll();
    });
    const leave = onAbort(signal, () => timer.cancel());
  }

  schedule();
}
