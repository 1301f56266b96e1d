import type { CliDeps } from "../deps.ts";

/** Asks a person for a plain yes; undefined where there is no person to ask. */
export type Confirm = (question: string, options: { readonly signal: AbortSignal }) => Promise<string>;

/** The way to ask a person at a terminal; a job has none. */
export function confirmAt(deps: Pick<CliDeps, "ask" | "env">): Confirm | undefined {
  return isJob(deps.env["CI"]) ? undefined : deps.ask;
}

function isJob(ci: string | undefined): boolean {
  return ci !== undefined && ci !== "" && ci !== "false" && ci !== "0";
}

/** Whether an answer is a plain yes. */
export function isYes(answer: string): boolean {
  return answer.trim().toLowerCase() === "yes";
}
