import { HTTP2_STREAMS } from "../limits/limits.ts";

/** Blocks that are remembered; each is asked for a moment after it came, unless the parser refused its stream. */
const MAX_BLOCKS = 4 * HTTP2_STREAMS;

/** How many lines each block of a connection had, until the parser hands it on. */
export interface HeadTable {
  add(streamId: number, fields: number): void;
  /** Whether all lines of the stream's next block are there. */
  isWhole(streamId: number, fields: number): boolean;
}

export function createHeadTable(): HeadTable {
  const blocks = new Map<number, readonly number[]>();
  return {
    add(streamId, fields) {
      blocks.set(streamId, [...(blocks.get(streamId) ?? []), fields]);
      const [oldest] = blocks.keys();
      if (blocks.size > MAX_BLOCKS && oldest !== undefined) blocks.delete(oldest);
    },
    isWhole(streamId, fields) {
      const [first, ...later] = blocks.get(streamId) ?? [];
      if (later.length === 0) blocks.delete(streamId);
      else blocks.set(streamId, later);
      return first === fields;
    },
  };
}
