import { open } from "node:fs/promises";
import { ConnectError } from "@cluster-connect/protocol";
import type { Program } from "./keeper.ts";
import { pollUntil } from "./poll.ts";

/** A line of JSON that a program wrote to its log. */
export type LogEvent = Readonly<Record<string, unknown>>;

const LAST_LINES = 5;

function parseEvent(line: string): LogEvent | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** The whole lines that a log has so far. */
async function readLogLines(path: string): Promise<readonly string[]> {
  const file = await open(path, "r");
  try {
    return (await file.readFile("utf8")).split("\n").slice(0, -1);
  } finally {
    await file.close();
  }
}

/** The JSON lines that a log has so far; other lines are left out. */
export async function readLogEvents(path: string): Promise<readonly LogEvent[]> {
  return (await readLogLines(path)).map(parseEvent).filter((event) => event !== undefined);
}

/**
 * Waits until a program has logged a line that `matches`.
 *
 * @throws ConnectError `CC_INTERNAL` with its last lines when the program ends before.
 */
export async function waitForLogEvent(
  program: Program,
  matches: (event: LogEvent) => boolean,
  options: { readonly signal: AbortSignal },
): Promise<LogEvent> {
  return waitForLine(
    program,
    (line) => [parseEvent(line)].find((event) => event !== undefined && matches(event)),
    options,
  );
}

/** As {@link waitForLogEvent}, for text: resolves with the first match of `pattern` in a whole line. */
export async function waitForLogText(
  program: Program,
  pattern: RegExp,
  options: { readonly signal: AbortSignal },
): Promise<string> {
  return waitForLine(program, (line) => pattern.exec(line)?.[0], options);
}

async function waitForLine<T>(
  program: Program,
  read: (line: string) => T | undefined,
  options: { readonly signal: AbortSignal },
): Promise<T> {
  let hasEnded = false;
  void program.ended.then(() => {
    hasEnded = true;
  });
  return pollUntil(async () => {
    const last = hasEnded; // read before the log, so that nothing is written in between
    const lines = await readLogLines(program.logPath);
    for (const line of lines) {
      const found = read(line);
      if (found !== undefined) return found;
    }
    if (!last) return undefined;
    const said = lines.slice(-LAST_LINES).join(" | ");
    throw new ConnectError("CC_INTERNAL", `${program.name} ended while it was waited for: ${said}`);
  }, options);
}
