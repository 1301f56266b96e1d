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

export function createHealth(): Health {
  const checks: { readonly name: string; readonly check: Check }[] = [];
  let draining = false;
  return {
    add: (name, check) => {
      checks.push({ name, check });
    },
    drain: () => {
      draining = true;
    },
    async ready() {
      const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
      const results = await Promise.all(
        checks.map(async ({ name, check }) => ({ name, ...(await runCheck(check, signal)) })),
      );
      const all = draining ? [{ name: "drain", ok: false, text: "the process is stopping" }, ...results] : results;
      return { ok: all.every(({ ok }) => ok), checks: all };
    },
  };
}

async function runCheck(check: Check, signal: AbortSignal): Promise<CheckResult> {
  try {
    return await Promise.race([check({ signal }), rejectOn(signal)]);
  } catch (error) {
    return { ok: false, text: error instanceof Error ? error.message : "the check failed" };
  }
}

function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(new Error("no answer in time")), { once: true });
  });
}
