/** Chunks up to this size are joined, so that many tiny frames do not cost many objects. */
const SMALL_BYTES = 512;
const SCRATCH_BYTES = 4_096;

/**
 * Bytes of one direction between two absolute offsets, kept as the chunks they came in.
 *
 * Chunks are handed out without copying, so whoever appends one must not write to it again.
 */
export interface ByteQueue {
  /** Offset of the first byte that is held. */
  readonly start: number;
  /** Offset after the last byte that is held. */
  readonly end: number;
  append(chunk: Uint8Array): void;
  /** Removes and returns the first bytes, at most `maxBytes`, as one chunk; undefined when empty. */
  take(maxBytes: number): Uint8Array | undefined;
  /** Returns the bytes from offset `from` on, at most `maxBytes`, and keeps them. */
  read(from: number, maxBytes: number): Uint8Array[];
  /** Forgets everything below `offset`. */
  dropTo(offset: number): void;
  /** Forgets everything. */
  clear(): void;
}

/** @param start offset of the first byte to come. */
export function createByteQueue(start = 0): ByteQueue {
  let chunks: Uint8Array[] = [];
  let offsets: number[] = [];
  let head = 0;
  let first = start;
  let end = start;
  // The last chunk, when it lies in a buffer of ours that has room behind it.
  let scratch: Uint8Array | undefined;
  let scratchUsed = 0;

  function shift(): void {
    head += 1;
    if (head === chunks.length) {
      chunks = [];
      offsets = [];
      head = 0;
      scratch = undefined;
    } else if (head >= 64 && head * 2 >= chunks.length) {
      chunks = chunks.slice(head);
      offsets = offsets.slice(head);
      head = 0;
    }
  }

  function appendSmall(chunk: Uint8Array): boolean {
    const lastIndex = chunks.length - 1;
    const last = chunks[lastIndex];
    if (last === undefined) return false;
    if (scratch !== undefined && scratchUsed + chunk.length <= scratch.length) {
      scratch.set(chunk, scratchUsed);
      scratchUsed += chunk.length;
      const begin = last.byteOffset - scratch.byteOffset;
      chunks[lastIndex] = scratch.subarray(begin, scratchUsed);
      return true;
    }
    if (last.length > SMALL_BYTES) return false;
    scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    scratch.set(chunk, 0);
    scratchUsed = chunk.length;
    chunks.push(scratch.subarray(0, scratchUsed));
    offsets.push(end);
    return true;
  }

  /** Index of the chunk that holds `offset`, which lies in [first, end). */
  function indexOf(offset: number): number {
    let low = head;
    let high = chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((offsets[middle] ?? end) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  return {
    get start() {
      return first;
    },
    get end() {
      return end;
    },
    append(chunk) {
      if (chunk.length === 0) return;
      if (chunk.length > SMALL_BYTES || !appendSmall(chunk)) {
        scratch = undefined;
        chunks.push(chunk);
        offsets.push(end);
      }
      end += chunk.length;
    },
    take(maxBytes) {
      const chunk = chunks[head];
      if (chunk === undefined || maxBytes <= 0) return undefined;
      if (chunk.length <= maxBytes) {
        first += chunk.length;
        shift();
        return chunk;
      }
      first += maxBytes;
      chunks[head] = chunk.subarray(maxBytes);
      offsets[head] = first;
      return chunk.subarray(0, maxBytes);
    },
    read(from, maxBytes) {
      const found: Uint8Array[] = [];
      const to = Math.min(end, from + maxBytes);
      if (from < first || from >= to) return found;
      let offset = from;
      for (let index = indexOf(from); offset < to; index += 1) {
        const chunk = chunks[index];
        if (chunk === undefined) break;
        const begin = offset - (offsets[index] ?? offset);
        const part = chunk.subarray(begin, Math.min(chunk.length, begin + to - offset));
        found.push(part);
        offset += part.length;
      }
      return found;
    },
    dropTo(offset) {
      while (first < offset) {
        const chunk = chunks[head];
        if (chunk === undefined) return;
        const chunkStart = offsets[head] ?? first;
        if (chunkStart + chunk.length > offset) {
          first = offset;
          chunks[head] = chunk.subarray(offset - chunkStart);
          offsets[head] = offset;
          return;
        }
        first = chunkStart + chunk.length;
        shift();
      }
    },
    clear() {
      chunks = [];
      offsets = [];
      head = 0;
      first = end;
      scratch = undefined;
    },
  };
}
