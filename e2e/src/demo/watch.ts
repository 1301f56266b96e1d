import { open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { ConnectError } from "@cluster-connect/protocol";
import type { Program } from "../process/keeper.ts";
import type { Interrupts } from "./interrupts.ts";

const LOOK_EVERY_MS = 200;
const MAX_LINES_BYTES = 65_536;

/** Passes on the lines that a log grows by from now on; resolves when the signal aborts. */
export async function showNewLines(
  path: string,
  options: { readonly signal: AbortSignal },
  show: (line: string) => void,
): Promise<void> {
  const { signal } = options;
  const file = await open(path, "r");
  try {
    let position = (await file.stat()).size;
    let rest = "";
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_LINES_BYTES), 0, MAX_LINES_BYTES, position);
      position += bytesRead;
      const lines = `${rest}${buffer.toString("utf8", 0, bytesRead)}`.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) show(line);
      if (signal.aborted) return;
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => {}); // once more for what came last
    }
  } finally {
    await file.close();
  }
}

/**
 * Resolves when the person ends the demo.
 *
 * @throws ConnectError `CC_INTERNAL` naming the program that ended by itself.
 */
export async function whicheverEnds(programs: readonly Program[], interrupts: Interrupts): Promise<void> {
  const { signal } = interrupts;
  const asked = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  const ended = programs.map(async (program) => {
    await program.ended;
    throw new ConnectError("CC_INTERNAL", `${program.name} ended by itself`);
  });
  for (const one of ended) one.catch(() => {}); // all of them end when the demo does
  await Promise.race([asked, ...ended]);
}
