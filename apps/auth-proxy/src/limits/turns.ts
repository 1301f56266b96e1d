import { onAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { RETRY_AFTER_LIMIT_MS } from "./limits.ts";

export interface TurnsLimits {
  /** Most at once, and most of them for one key. */
  readonly all: number;
  readonly perKey: number;
  /** Most that wait, and most of them for one key. */
  readonly waiting: number;
  readonly waitingPerKey: number;
}

/** Places that are waited for. Keys take turns, so that one that asks often does not hold up the others. */
export interface Turns {
  /**
   * @returns gives the place back.
   * @throws ConnectError `CC_LIMIT_REACHED` when too many wait already; the signal's reason when it is aborted.
   */
  take(key: string, options: { readonly signal: AbortSignal }): Promise<() => void>;
  readonly size: () => number;
  readonly waiting: () => number;
}

interface Key {
  held: number;
  readonly queue: Set<(leave: () => void) => void>;
}

/** @param what for the message, such as "handshakes". */
export function createTurns(what: string, limits: TurnsLimits): Turns {
  /** In the order of their turns; a key with nothing held and nothing waiting is forgotten. */
  const keys = new Map<string, Key>();
  let held = 0;
  let waiting = 0;

  function hold(name: string, key: Key): () => void {
    key.held += 1;
    held += 1;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      key.held -= 1;
      held -= 1;
      next();
      forget(name, key);
    };
  }

  function forget(name: string, key: Key): void {
    if (key.held === 0 && key.queue.size === 0 && keys.get(name) === key) keys.delete(name);
  }

  function next(): void {
    for (const [name, key] of keys) {
      if (held >= limits.all) return;
      const [go] = key.queue;
      if (go === undefined || key.held >= limits.perKey) continue;
      // Its next turn comes behind all others.
      keys.delete(name);
      keys.set(name, key);
      key.queue.delete(go);
      waiting -= 1;
      go(hold(name, key));
    }
  }

  return {
    async take(name, { signal }) {
      signal.throwIfAborted();
      const key = keys.get(name) ?? { held: 0, queue: new Set() };
      keys.set(name, key);
      if (held < limits.all && key.held < limits.perKey && key.queue.size === 0) return hold(name, key);
      if (waiting >= limits.waiting || key.queue.size >= limits.waitingPerKey) {
        forget(name, key);
        throw new ConnectError("CC_LIMIT_REACHED", `Too many ${what} wait already`, {
          retryAfterMs: RETRY_AFTER_LIMIT_MS,
        });
      }
      return new Promise((resolve, reject) => {
        const go = (leave: () => void): void => {
          stopListening();
          resolve(leave);
        };
        key.queue.add(go);
        waiting += 1;
        const stopListening = onAbort(signal, () => {
          key.queue.delete(go);
          waiting -= 1;
          forget(name, key);
          reject(signal.reason);
        });
      });
    },
    size: () => held,
    waiting: () => waiting,
  };
}
