import { type ConnectError, ERRORS, type ErrorCode, toConnectError } from "@cluster-connect/protocol";

export type CheckStatus = "ok" | "warning" | "failed" | "skipped";

/** What one check found. */
export interface CheckResult {
  readonly check: string;
  readonly status: CheckStatus;
  /** One line without secrets. */
  readonly detail: string;
  /** What to do, when something is to be done. */
  readonly hint: string | null;
  readonly code: ErrorCode | null;
  readonly durationMs: number | null;
}

/** What a check returns when it worked. */
export interface Finding<T> {
  readonly value: T;
  readonly detail: string;
  /** It works, but: what to do. */
  readonly warning?: string;
}

/** Runs checks one after another and keeps what they found. */
export interface Report {
  readonly results: readonly CheckResult[];
  /** @returns what the check found, or undefined when it failed: what builds on it is skipped then. */
  check<T>(name: string, work: () => Promise<Finding<T>>): Promise<T | undefined>;
  skip(name: string, reason: string): void;
  /** 0, or the exit code of the first failure. */
  exitCode(): number;
}

/** @param onResult is told each result as it comes, for the screen. */
export function createReport(
  options: { readonly signal: AbortSignal },
  onResult: (result: CheckResult) => void,
): Report {
  const results: CheckResult[] = [];
  const add = (result: CheckResult): void => {
    results.push(result);
    onResult(result);
  };
  return {
    results,
    async check(name, work) {
      const startedAt = performance.now();
      const durationMs = (): number => Math.round(performance.now() - startedAt);
      try {
        const { value, detail, warning } = await work();
        const status = warning === undefined ? "ok" : "warning";
        add({ check: name, status, detail, hint: warning ?? null, code: null, durationMs: durationMs() });
        return value;
      } catch (error) {
        options.signal.throwIfAborted();
        const { code, message, hint }: ConnectError = toConnectError(error);
        add({ check: name, status: "failed", detail: message, hint, code, durationMs: durationMs() });
        return undefined;
      }
    },
    skip(name, reason) {
      add({ check: name, status: "skipped", detail: reason, hint: null, code: null, durationMs: null });
    },
    exitCode() {
      const failed = results.find(({ status }) => status === "failed");
      return failed?.code === undefined || failed.code === null ? 0 : ERRORS[failed.code].exit;
    },
  };
}
