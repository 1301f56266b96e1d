import { raceAbort, SYSTEM_CLOCK } from "@cluster-connect/base";

/** One part's state, said by the part itself. */
export interface CheckResult {
  readonly ok: boolean;
  /** One line for a person. */
  readonly text: string;
}

export interface HealthReport {
  readonly ok: boolean;
  readonly checks: readonly (CheckResult & { readonly name: string })[];
}

export type Check = (options: { readonly signal: AbortSignal }) => CheckResult | Promise<CheckResult>;

/** Live: the process runs. Ready: it can do its work now, as each of its parts says. */
export interface Health {
  /** Adds a part; a check that throws or is too slow counts as failed. */
  add(name: string, check: Check): void;
  /** From here on the process is not ready, so that nothing new is sent to it. */
  drain(): void;
  ready(): Promise<HealthReport>;
}

const CHECK_TIMEOUT_MS = 5_000;
const FRESH_MS = 1_000;

/** @param deps `now` in milliseconds on a clock that never goes back. */
export function createHealth(deps: { readonly now: () => number } = { now: SYSTEM_CLOCK.monotonicNow }): Health {
  const { now } = deps;
  const checks: { readonly name: string; readonly check: Check }[] = [];
  let draining = false;
  let asked: { readonly at: number; readonly results: Promise<HealthReport["checks"]> } | undefined;

  /** Anybody may ask, so those who ask within a moment share an answer. */
  function recent(): Promise<HealthReport["checks"]> {
    if (asked !== undefined && now() - asked.at < FRESH_MS) return asked.results;
    const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
    const results = Promise.all(checks.map(async ({ name, check }) => ({ name, ...(await runCheck(check, signal)) })));
    asked = { at: now(), results };
    return results;
  }

  return {
    add: (name, check) => {
      checks.push({ name, check });
      asked = undefined;
    },
    drain: () => {
      draining = true;
    },
    async ready() {
      const results = await recent();
      const all = draining ? [{ name: "drain", ok: false, text: "the process is stopping" }, ...results] : results;
      return { ok: all.every(({ ok }) => ok), checks: all };
    },
  };
}

async function runCheck(check: Check, signal: AbortSignal): Promise<CheckResult> {
  try {
    return await raceAbort(Promise.resolve(check({ signal })), signal);
  } catch (error) {
    if (signal.aborted) return { ok: false, text: "no answer in time" };
    return { ok: false, text: error instanceof Error ? error.message : "the check failed" };
  }
}
