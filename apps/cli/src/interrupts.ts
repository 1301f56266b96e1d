import { ConnectError } from "@cluster-connect/protocol";
import type { SignalSource } from "./deps.ts";

/** Signals that ask a command to end, or that it takes for itself. */
export interface Interrupts {
  /** Aborted by the first signal that nobody took. */
  readonly signal: AbortSignal;
  /** From now on signals go here; the result gives them back. */
  take(listener: (signal: NodeJS.Signals) => void): () => void;
  /** Stops listening. */
  dispose(): void;
}

const ENDING: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/**
 * Listens for the signals that end a program.
 *
 * @param onImpatience is called when another signal comes while the program ends.
 */
export function createInterrupts(source: SignalSource, onImpatience: () => void): Interrupts {
  const controller = new AbortController();
  let taker: ((signal: NodeJS.Signals) => void) | undefined;
  const listeners = ENDING.map((signal) => {
    const listener = (): void => {
      if (taker !== undefined) taker(signal);
      else if (controller.signal.aborted) onImpatience();
      else controller.abort(new ConnectError("CC_CANCELLED", `Ended by ${signal}`));
    };
    source.on(signal, listener);
    return () => source.off(signal, listener);
  });
  return {
    signal: controller.signal,
    take(listener) {
      taker = listener;
      return () => {
        if (taker === listener) taker = undefined;
      };
    },
    dispose() {
      for (const remove of listeners) remove();
    },
  };
}
