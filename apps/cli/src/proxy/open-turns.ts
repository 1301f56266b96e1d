import { setTimeout as delay } from "node:timers/promises";
import { onAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";

/** How long a connection waits for its turn: Go's clients give up a handshake after ten seconds. */
const TURN_MS = 8_000;

/**
 * Lets connections open their streams in turn where the relay says that they come too fast. The client waits with its
 * handshake, rather than loses a connection that it may not repeat.
 */
export interface OpenTurns {
  /**
   * Tries until it is done.
   *
   * @throws ConnectError `CC_LIMIT_REACHED` when the turn does not come in time, or no time was told; an attempt's other
   *   errors; the signal's reason.
   */
  take<T>(attempt: () => Promise<T>, options: { readonly signal: AbortSignal }): Promise<T>;
}

interface Waiting {
  /** Of its coming. */
  readonly order: number;
  readonly until: number;
  /** Said to it when its time is over. */
  readonly refusal: ConnectError;
}

interface Entry extends Waiting {
  readonly go: () => void;
  readonly giveUp: (error: unknown) => void;
}

/**
 * All try at once until one is refused. From then on those that wait take turns in their order: as few at once as the
 * relay takes, one more after each success and half as many after each refusal.
 *
 * @param options.signal Ends the waiting.
 */
export function createOpenTurns(options: { readonly signal: AbortSignal }): OpenTurns {
  const gate = createGate(options);
  let came = 0;
  return {
    async take(attempt, { signal }) {
      const until = performance.now() + TURN_MS;
      const order = came++;
      let refusal: ConnectError | undefined;
      for (;;) {
        await gate.enter({ order, until, refusal }, signal);
        try {
          const done = await attempt();
          gate.succeeded();
          return done;
        } catch (error) {
          const waitMs = waitOf(error);
          if (!(error instanceof ConnectError) || waitMs <= 0 || performance.now() + waitMs > until) throw error;
          refusal = error;
          gate.refused(error, waitMs);
        } finally {
          gate.leave();
        }
      }
    },
  };
}

interface Gate {
  enter(
    who: Omit<Waiting, "refusal"> & { readonly refusal: ConnectError | undefined },
    signal: AbortSignal,
  ): Promise<void>;
  succeeded(): void;
  refused(error: ConnectError, waitMs: number): void;
  leave(): void;
}

/** Open until an attempt is refused, and again when no one waits any more. */
function createGate(options: { readonly signal: AbortSignal }): Gate {
  const queue = createQueue();
  let last: ConnectError | undefined;
  let underWay = 0;
  let atOnce = Number.POSITIVE_INFINITY;
  let notBefore = 0;
  let isAsleep = false;

  function next(): void {
    const now = performance.now();
    for (let first = queue.first(); first !== undefined; first = queue.first()) {
      if (first.until <= now) first.giveUp(first.refusal);
      else if (underWay >= atOnce) return;
      else if (notBefore > now) {
        wakeAfter(notBefore - now);
        return;
      } else {
        underWay += 1;
        first.go();
      }
    }
    if (underWay > 0) return;
    atOnce = Number.POSITIVE_INFINITY;
    last = undefined;
  }

  function wakeAfter(ms: number): void {
    if (isAsleep) return;
    isAsleep = true;
    const wake = (): void => {
      isAsleep = false;
      next();
    };
    delay(ms, undefined, options).then(wake, wake);
  }

  return {
    async enter({ order, until, refusal = last }, signal) {
      if (refusal === undefined) {
        underWay += 1;
        return;
      }
      signal.throwIfAborted();
      const turn = queue.wait({ order, until, refusal }, signal);
      next();
      await turn;
    },
    succeeded() {
      atOnce += 1;
    },
    refused(error, waitMs) {
      last = error;
      atOnce = Math.max(1, Math.floor(Math.min(atOnce, underWay) / 2));
      // Commands that were told the same time do not come back at the same moment.
      notBefore = Math.max(notBefore, performance.now() + waitMs * (1 + Math.random()));
    },
    leave() {
      underWay -= 1;
      next();
    },
  };
}

interface Queue {
  first(): Entry | undefined;
  /** Waits behind those that came before. */
  wait(who: Waiting, signal: AbortSignal): Promise<void>;
}

function createQueue(): Queue {
  const entries: Entry[] = [];
  return {
    first: () => entries[0],
    async wait(who, signal) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const leave = (): void => {
        stopListening();
        entries.splice(entries.indexOf(entry), 1);
      };
      const entry: Entry = {
        ...who,
        go: () => {
          leave();
          resolve();
        },
        giveUp: (error) => {
          leave();
          reject(error);
        },
      };
      const stopListening = onAbort(signal, () => entry.giveUp(signal.reason));
      const behind = entries.findIndex(({ order }) => order > who.order);
      entries.splice(behind === -1 ? entries.length : behind, 0, entry);
      await promise;
    },
  };
}

function waitOf(error: unknown): number {
  return error instanceof ConnectError && error.code === "CC_LIMIT_REACHED" ? (error.retryAfterMs ?? 0) : 0;
}
