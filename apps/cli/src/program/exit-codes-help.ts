import { ERRORS } from "@cluster-connect/protocol";

/** The page of `help exit-codes`: what each code means and what to do about it. */
export function exitCodesHelp(): string {
  const rows = Object.entries(ERRORS)
    .sort(([, a], [, b]) => a.exit - b.exit)
    .map(
      ([code, { exit, retry, hint }]) =>
        `${String(exit).padStart(4)}  ${code}${retry ? ", worth repeating" : ""}\n      ${hint}\n`,
    );
  return `
Each code belongs to one kind of failure and stays what it is; texts may change.
With --output json the failure itself is JSON on standard error, with the same code.

   0  it worked; \`run\` passes on the exit code of its command
${rows.join("")}`;
}
