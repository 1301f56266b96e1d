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
  return new ChunkQueue(start);
}

const NO_CHUNKS: Uint8Array[] = [];
const NO_OFFSETS: number[] = [];

/** A class, not closures: every stream has two, and most are empty. */
class ChunkQueue implements ByteQueue {
  #chunks: Uint8Array[] = NO_CHUNKS;
  #offsets: number[] = NO_OFFSETS;
  #head = 0;
  #first: number;
  #end: number;
  /** The last chunk, when it lies in a buffer of ours that has room behind it. */
  #scratch: Uint8Array | undefined;
  #scratchUsed = 0;

  constructor(start: number) {
    this.#first = start;
    this.#end = start;
  }

  get start(): number {
    return this.#first;
  }

  get end(): number {
    return this.#end;
  }

  append(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    if (chunk.length > SMALL_BYTES || !this.#appendSmall(chunk)) {
      this.#scratch = undefined;
      this.#push(chunk);
    }
    this.#end += chunk.length;
  }

  take(maxBytes: number): Uint8Array | undefined {
    const chunk = this.#chunks[this.#head];
    if (chunk === undefined || maxBytes <= 0) return undefined;
    if (chunk.length <= maxBytes) {
      this.#first += chunk.length;
      this.#shift();
      return chunk;
    }
    this.#first += maxBytes;
    this.#chunks[this.#head] = chunk.subarray(maxBytes);
    this.#offsets[this.#head] = this.#first;
    return chunk.subarray(0, maxBytes);
  }

  read(from: number, maxBytes: number): Uint8Array[] {
    const found: Uint8Array[] = [];
    const to = Math.min(this.#end, from + maxBytes);
    if (from < this.#first || from >= to) return found;
    let offset = from;
    for (let index = this.#indexOf(from); offset < to; index += 1) {
      const chunk = this.#chunks[index];
      if (chunk === undefined) break;
      const begin = offset - (this.#offsets[index] ?? offset);
      const part = chunk.subarray(begin, Math.min(chunk.length, begin + to - offset));
      found.push(part);
      offset += part.length;
    }
    return found;
  }

  dropTo(offset: number): void {
    while (this.#first < offset) {
      const chunk = this.#chunks[this.#head];
      if (chunk === undefined) return;
      const chunkStart = this.#offsets[this.#head] ?? this.#first;
      if (chunkStart + chunk.length > offset) {
        this.#first = offset;
        this.#chunks[this.#head] = chunk.subarray(offset - chunkStart);
        this.#offsets[this.#head] = offset;
        return;
      }
      this.#first = chunkStart + chunk.length;
      this.#shift();
    }
  }

  clear(): void {
    this.#reset();
    this.#first = this.#end;
  }

  #reset(): void {
    this.#chunks = NO_CHUNKS;
    this.#offsets = NO_OFFSETS;
    this.#head = 0;
    this.#scratch = undefined;
  }

  #push(chunk: Uint8Array): void {
    if (this.#chunks === NO_CHUNKS) {
      this.#chunks = [];
      this.#offsets = [];
    }
    this.#chunks.push(chunk);
    this.#offsets.push(this.#end);
  }

  #shift(): void {
    this.#head += 1;
    if (this.#head === this.#chunks.length) {
      this.#reset();
    } else if (this.#head >= 64 && this.#head * 2 >= this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#offsets = this.#offsets.slice(this.#head);
      this.#head = 0;
    }
  }

  #appendSmall(chunk: Uint8Array): boolean {
    const lastIndex = this.#chunks.length - 1;
    const last = this.#chunks[lastIndex];
    if (last === undefined) return false;
    const scratch = this.#scratch;
    if (scratch !== undefined && this.#scratchUsed + chunk.length <= scratch.length) {
      scratch.set(chunk, this.#scratchUsed);
      this.#scratchUsed += chunk.length;
      this.#chunks[lastIndex] = scratch.subarray(last.byteOffset - scratch.byteOffset, this.#scratchUsed);
      return true;
    }
    if (last.length > SMALL_BYTES) return false;
    const fresh = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    fresh.set(chunk, 0);
    this.#scratch = fresh;
    this.#scratchUsed = chunk.length;
    this.#push(fresh.subarray(0, chunk.length));
    return true;
  }

  /** Index of the chunk that holds `offset`, which lies in [first, end). */
  #indexOf(offset: number): number {
    let low = this.#head;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#offsets[middle] ?? this.#end) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
