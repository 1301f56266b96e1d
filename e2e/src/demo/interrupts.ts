/** Signals that end the demo, or that it passes on to the command. */
const END_SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

/** Where signals come from; the process in practice. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: () => void): void;
  readonly ppid: number;
}

/** The first signal ends everything, unless a command took signals over; a second one in any case. */
export interface Interrupts {
  readonly signal: AbortSignal;
  /** The signal that came. */
  readonly received: NodeJS.Signals | undefined;
  /** Gets every signal instead, until the undo is called. */
  take(listener: (signal: NodeJS.Signals) => void): () => void;
}

const PARENT_LOOK_MS = 500;

/** Listens from now on; a parent that goes away counts as SIGHUP. */
export function listenForInterrupts(source: SignalSource): Interrupts {
  const end = new AbortController();
  let received: NodeJS.Signals | undefined;
  let taker: ((signal: NodeJS.Signals) => void) | undefined;
  const arrived = (name: NodeJS.Signals): void => {
    const again = received !== undefined;
    received = name;
    if (taker !== undefined) taker(name);
    if (taker === undefined || again) end.abort(new Error(`interrupted by ${name}`));
  };
  for (const name of END_SIGNALS) source.on(name, () => arrived(name));
  const parent = source.ppid;
  const watch = setInterval(() => {
    if (source.ppid === parent) return;
    clearInterval(watch);
    arrived("SIGHUP");
  }, PARENT_LOOK_MS);
  watch.unref();
  return {
    signal: end.signal,
    get received() {
      return received;
    },
    take: (listener) => {
      taker = listener;
      return () => {
        taker = undefined;
      };
    },
  };
}
