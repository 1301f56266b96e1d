import { onAbort } from "@cluster-connect/base";
import { errorFields } from "../observe/failure.ts";
import type { Logger } from "../observe/logger.ts";

/** Signals that a daemon answers: the first two end it, the last one has it read its files again. */
export type DaemonSignal = "SIGTERM" | "SIGINT" | "SIGHUP";

/** Where signals come from: `process`, or an emitter in tests. */
export interface SignalSource {
  on(name: DaemonSignal, listener: () => void): unknown;
  off(name: DaemonSignal, listener: () => void): unknown;
}

/** Orderly stop: a signal starts it, steps run one by one, a deadline or a second signal cuts it short. */
export interface Shutdown {
  /** Aborted as soon as the stop begins: take no new work. */
  readonly stopping: AbortSignal;
  /** Adds a step; the last added runs first. Its signal is aborted when the time is up. */
  add(name: string, step: (options: { readonly signal: AbortSignal }) => Promise<void> | void): void;
  /** Begins the stop without a signal. */
  begin(reason: string): void;
  /** Resolves when every step is done; `inTime` is false when the deadline or a second signal cut it short. */
  readonly done: Promise<{ readonly inTime: boolean }>;
}

export interface ShutdownOptions {
  /** From the first signal until what is left is cut off. */
  readonly deadlineMs: number;
}

/** How long a step may go on after its signal was aborted. */
const STEP_GRACE_MS = 1_000;

export function createShutdown(
  options: ShutdownOptions,
  deps: { readonly signals: SignalSource; readonly log: Logger },
): Shutdown {
  const steps: { readonly name: string; readonly step: Parameters<Shutdown["add"]>[1] }[] = [];
  const stopping = new AbortController();
  const cut = new AbortController();
  const finished = Promise.withResolvers<{ readonly inTime: boolean }>();

  const begin = (reason: string): void => {
    if (stopping.signal.aborted) {
      cut.abort();
      return;
    }
    deps.log.info({ event: "shutdown.begin", reason, deadlineMs: options.deadlineMs }, "shutting down");
    stopping.abort();
    void runSteps().then(finished.resolve, finished.reject);
  };
  const onTerm = (): void => begin("SIGTERM");
  const onInt = (): void => begin("SIGINT");
  deps.signals.on("SIGTERM", onTerm);
  deps.signals.on("SIGINT", onInt);

  async function runSteps(): Promise<{ readonly inTime: boolean }> {
    const timer = setTimeout(() => cut.abort(), options.deadlineMs);
    for (const { name, step } of steps.toReversed()) await runStep(name, step, cut.signal, deps.log);
    clearTimeout(timer);
    deps.signals.off("SIGTERM", onTerm);
    deps.signals.off("SIGINT", onInt);
    deps.log.info({ event: "shutdown.done", inTime: !cut.signal.aborted }, "shut down");
    return { inTime: !cut.signal.aborted };
  }

  return {
    stopping: stopping.signal,
    add: (name, step) => {
      steps.push({ name, step });
    },
    begin,
    done: finished.promise,
  };
}

async function runStep(
  name: string,
  step: Parameters<Shutdown["add"]>[1],
  signal: AbortSignal,
  log: Logger,
): Promise<void> {
  const overdue = Promise.withResolvers<void>();
  let timer: NodeJS.Timeout | undefined;
  const onCut = (): void => {
    timer = setTimeout(() => overdue.resolve(), STEP_GRACE_MS);
  };
  const leave = onAbort(signal, onCut);
  try {
    await Promise.race([step({ signal }), overdue.promise]);
  } catch (error) {
    log.warn({ event: "shutdown.step", step: name, ...errorFields(error) }, "a shutdown step failed");
  } finally {
    clearTimeout(timer);
    leave();
  }
}
