import { appendFile, open } from "node:fs/promises";
import { systemCode } from "@cluster-connect/base";
import { z } from "zod";
import type { ChainedEntry } from "../store/queries/audit-chain.ts";
import type { AuditSink } from "./sink.ts";

const LINE = z.object({ sequence: z.int() });
const TAIL_BYTES = 65_536;

/**
 * A file with one JSON line per entry. Its last line says where it goes on after a restart; a file that was moved away
 * meanwhile is begun anew where the process is.
 */
export function createFileSink(path: string): AuditSink {
  let known: number | undefined;
  return {
    name: "file",
    async cursor() {
      known ??= await lastSequence(path);
      return known;
    },
    async write(entries) {
      const lines = entries.map((entry) => `${JSON.stringify(lineOf(entry))}\n`);
      await appendFile(path, lines.join(""), { mode: 0o600, flush: true });
      known = entries.at(-1)?.sequence ?? known;
    },
    skip: async (sequence) => {
      known = sequence;
    },
  };
}

function lineOf({ detail, ...entry }: ChainedEntry): Readonly<Record<string, unknown>> {
  return { ...entry, detail: JSON.parse(detail) };
}

/** The number of the last entry in the file of a sink; 0 without one. A last line that is not whole was cut off by a crash; the entry comes again. */
export async function lastSequence(path: string): Promise<number> {
  const file = await open(path, "r").catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  });
  if (file === undefined) return 0;
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
    const lines = buffer.subarray(0, bytesRead).toString("utf8").split("\n").toReversed();
    for (const line of lines) {
      const sequence = sequenceOf(line);
      if (sequence !== undefined) return sequence;
    }
    return 0;
  } finally {
    await file.close();
  }
}

function sequenceOf(line: string): number | undefined {
  try {
    return LINE.parse(JSON.parse(line)).sequence;
  } catch {
    return undefined;
  }
}
