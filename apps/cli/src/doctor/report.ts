import { type ConnectError, ERRORS, type ErrorCode, toConnectError } from "@cluster-connect/protocol";

export type CheckStatus = "ok" | "warning" | "failed" | "skipped";

/** The finding of one check. */
export interface DoctorResult {
  readonly check: string;
  readonly status: CheckStatus;
  /** One line without secrets. */
  readonly detail: string;
  /** The next step, when there is one. */
  readonly hint: string | null;
  readonly code: ErrorCode | null;
  readonly durationMs: number | null;
}

/** The result of a check that worked. */
export interface Finding<T> {
  readonly value: T;
  readonly detail: string;
  /** It works, but: what to do. */
  readonly warning?: string;
}

/** Runs checks one after another and keeps what they found. */
export interface DoctorReport {
  readonly results: readonly DoctorResult[];
  /** @returns what the check found, or undefined when it failed: checks that build on it are skipped then. */
  check<T>(name: string, work: () => Promise<Finding<T>>): Promise<T | undefined>;
  skip(name: string, reason: string): void;
  /** 0, or the exit code of the first failure. */
  exitCode(): number;
}

/** @param onResult is told each result as it comes, for the screen. */
export function createDoctorReport(
  options: { readonly signal: AbortSignal },
  onResult: (result: DoctorResult) => void,
): DoctorReport {
  const results: DoctorResult[] = [];
  const add = (result: DoctorResult): void => {
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
