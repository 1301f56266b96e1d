import type { CliDeps } from "../deps.ts";
import { createDoctorReport, type DoctorReport, type DoctorResult } from "../doctor/report.ts";
import { printable } from "../terminal/printable.ts";
import { createStyle, type Style } from "../terminal/style.ts";

export interface StepFlags {
  readonly output: "text" | "json";
}

/** The steps of a command that changes a cluster: shown one by one, or as one JSON document at the end. */
export interface Steps {
  readonly report: DoctorReport;
  /** @returns the exit code. */
  end(facts: Readonly<Record<string, unknown>>): number;
}

export function createSteps(
  flags: StepFlags,
  options: { readonly signal: AbortSignal },
  deps: Pick<CliDeps, "stdout" | "env">,
): Steps {
  const style = createStyle(deps.stdout, deps.env);
  const isText = flags.output === "text";
  const report = createDoctorReport(options, (result) => {
    if (isText) deps.stdout.write(formatStep(result, style));
  });
  return {
    report,
    end(facts) {
      const exitCode = report.exitCode();
      const document = { ...facts, ok: exitCode === 0, steps: report.results };
      if (!isText) deps.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
      return exitCode;
    },
  };
}

const WIDTH = 18;

function formatStep({ check, status, detail, hint }: DoctorResult, style: Style): string {
  const marks = {
    ok: style.good("ok  "),
    warning: style.strong("warn"),
    failed: style.bad("FAIL"),
    skipped: style.faint("skip"),
  };
  const line = `${marks[status]}  ${check.padEnd(WIDTH)} ${printable(detail)}\n`;
  return hint === null ? line : `${line}${" ".repeat(WIDTH + 7)}${printable(hint)}\n`;
}
