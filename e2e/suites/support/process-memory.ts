import { open, readFile } from "node:fs/promises";

const STEP_BYTES = 4 * 1_048_576;

/**
 * Which of some words are in the memory of a process.
 *
 * @throws the system's error where memory of other processes cannot be read.
 */
export async function findInMemory(pid: number, words: readonly string[]): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const needles = words.map((word) => ({ word, bytes: Buffer.from(word) }));
  const overlap = Math.max(...needles.map(({ bytes }) => bytes.length));
  const memory = await open(`/proc/${pid}/mem`, "r");
  try {
    for (const [from, to] of readableRegions(await readFile(`/proc/${pid}/maps`, "utf8"))) {
      for (let at = from; at < to; at += STEP_BYTES) {
        const length = Math.min(STEP_BYTES + overlap, to - at);
        // A region may go away meanwhile, or be none of the process's own.
        const read = await memory.read(Buffer.alloc(length), 0, length, at).catch(() => undefined);
        if (read === undefined) continue;
        for (const { word, bytes } of needles) if (read.buffer.includes(bytes)) found.add(word);
      }
    }
  } finally {
    await memory.close();
  }
  return found;
}

function readableRegions(maps: string): readonly (readonly [number, number])[] {
  return maps.split("\n").flatMap((line) => {
    const [, from = "", to = "", flags = ""] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? [];
    const writable = flags.startsWith("rw");
    return writable ? [[Number.parseInt(from, 16), Number.parseInt(to, 16)] as const] : [];
  });
}
