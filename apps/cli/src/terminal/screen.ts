import type { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { printable } from "./printable.ts";
import { createStyle } from "./style.ts";

/** A person's view on standard error while a command works. */
export interface Screen {
  /** One fact: a short label and what it is. */
  fact(label: string, text: string): void;
  /** The thing that is being waited for; on a terminal the next line replaces it. */
  waiting(text: string): void;
  line(text: string): void;
  /** A line that is shown in any case. */
  notice(text: string): void;
  /** Something happened, with the time of day. */
  event(text: string): void;
  /** Something went wrong, with the time of day and what to do; the same again is only counted for a while. */
  problem(error: ConnectError, about?: string): void;
}

const LABEL_WIDTH = 10;
const REPEAT_MS = 10_000;

/** @param options `quiet` leaves only notices and problems: the terminal belongs to another command. */
export function createScreen(
  deps: Pick<CliDeps, "stderr" | "env" | "now">,
  options: { readonly quiet: boolean },
): Screen {
  const { stderr } = deps;
  const style = createStyle(stderr, deps.env);
  const seen = new Map<string, { readonly at: number; count: number }>();
  let temporary = false;

  function write(text: string): void {
    if (temporary) stderr.write("\r\u001b[K");
    temporary = false;
    stderr.write(`${text}\n`);
  }

  function unlessQuiet(text: string): void {
    if (!options.quiet) write(text);
  }

  const time = (): string => style.faint(new Date(deps.now()).toTimeString().slice(0, 8));

  return {
    fact: (label, text) => unlessQuiet(`${style.strong(label.padEnd(LABEL_WIDTH))} ${printable(text)}`),
    line: (text) => unlessQuiet(printable(text)),
    notice: (text) => write(printable(text)),
    waiting(text) {
      if (options.quiet || !stderr.isTerminal) return;
      const line = `… ${printable(text)}`.slice(0, Math.max(10, stderr.columns - 1));
      stderr.write(`${temporary ? "\r\u001b[K" : ""}${style.faint(line)}`);
      temporary = true;
    },
    event: (text) => unlessQuiet(`${time()} ${printable(text)}`),
    problem(error, about) {
      const key = `${error.code} ${about ?? ""}`;
      const last = seen.get(key);
      if (last !== undefined && deps.now() - last.at < REPEAT_MS) {
        last.count += 1;
        return;
      }
      const again = last === undefined || last.count === 0 ? "" : ` (and ${last.count} times before)`;
      seen.set(key, { at: deps.now(), count: 0 });
      const prefix = about === undefined ? "" : `${about}: `;
      write(`${time()} ${style.bad(printable(`${prefix}${error.message}`))} (${error.code})${again}`);
      write(`         ${error.hint}`);
      if (error.correlationId !== undefined) write(style.faint(`         correlation id ${error.correlationId}`));
    },
  };
}
