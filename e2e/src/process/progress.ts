/** Where progress goes; standard error in practice. */
export interface ProgressTarget {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Tells a person what is going on: whole lines, or one line that is rewritten on a terminal. */
export interface Progress {
  /** Something that stays on the screen. */
  line(text: string): void;
  /** Something that lasts: on a terminal one line with the seconds so far, elsewhere a line now and each half minute. */
  during<T>(text: string, work: () => Promise<T>): Promise<T>;
}

const TERMINAL_EVERY_MS = 1_000;
const PLAIN_EVERY_MS = 30_000;
const CLEAR_LINE = "\r\u001b[2K";

/** Makes a {@link Progress} that writes to `target`. */
export function createProgress(target: ProgressTarget, deps: { readonly now: () => number }): Progress {
  const terminal = target.isTTY === true;
  return {
    line: (text) => {
      target.write(`${text}\n`);
    },
    during: async (text, work) => {
      const startedAt = deps.now();
      const seconds = (): string => `${Math.round((deps.now() - startedAt) / 1000)} s`;
      target.write(terminal ? text : `${text}\n`);
      const timer = setInterval(
        () => target.write(terminal ? `${CLEAR_LINE}${text} (${seconds()})` : `${text} (still, ${seconds()})\n`),
        terminal ? TERMINAL_EVERY_MS : PLAIN_EVERY_MS,
      );
      try {
        const result = await work();
        target.write(`${terminal ? CLEAR_LINE : ""}${text}: done in ${seconds()}\n`);
        return result;
      } catch (error) {
        target.write(`${terminal ? CLEAR_LINE : ""}${text}: failed after ${seconds()}\n`);
        throw error;
      } finally {
        clearInterval(timer);
      }
    },
  };
}

/** A {@link Progress} that says nothing. */
export const SILENT: Progress = { line: () => {}, during: (_text, work) => work() };
