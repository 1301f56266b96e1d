import { ConnectError } from "@cluster-connect/protocol";
import type { SignalSource } from "../deps.ts";

/** Signals that ask a command to end, or that it takes for itself. */
export interface CommandInterrupts {
  /** Aborted by the first signal that no listener took. */
  readonly signal: AbortSignal;
  /** From now on signals go here; the result gives them back. */
  take(listener: (signal: NodeJS.Signals) => void): () => void;
  /** Stops listening. */
  dispose(): void;
}

const ENDING: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
/** No person presses Ctrl-C twice as quickly: a shell and the kernel send such signals, or a program between. */
const PERSON_MS = 300;

/**
 * Listens for the signals that end a program.
 *
 * @param onImpatience is called when a person presses Ctrl-C again while the program ends.
 * @param now milliseconds, of a clock that only goes forward.
 */
export function createInterrupts(
  source: SignalSource,
  onImpatience: () => void,
  now: () => number = () => performance.now(),
): CommandInterrupts {
  const controller = new AbortController();
  const lastAt = new Map<NodeJS.Signals, number>();
  let taker: ((signal: NodeJS.Signals) => void) | undefined;
  const listeners = ENDING.map((signal) => {
    const listener = (): void => {
      const at = now();
      const before = lastAt.get(signal);
      const isEcho = before !== undefined && at - before < PERSON_MS;
      lastAt.set(signal, at);
      // One that was taken decides about Ctrl-C by itself, however often it comes.
      if (isEcho && signal !== "SIGINT") return;
      if (taker !== undefined) taker(signal);
      else if (!controller.signal.aborted) controller.abort(new ConnectError("CC_CANCELLED", `Ended by ${signal}`));
      else if (signal === "SIGINT" && before !== undefined && !isEcho) onImpatience();
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
