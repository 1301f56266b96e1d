import { SLAB_BYTES, type SlabPool } from "./slab-pool.ts";

/** Chunks from this size on go into slabs; smaller ones get memory of their own, twice as much each time. */
const SLAB_FROM_BYTES = 2_048;
/** Up to this size V8 keeps the bytes inside of the array, until a view of it is made. */
const INLINE_BYTES = 64;

/**
 * Bytes of one direction between two absolute offsets.
 *
 * They are copied on the way in and lie in memory of the queue's own. Views of it are handed out, and hold true until
 * their bytes are dropped.
 */
export interface ByteQueue {
  /** Offset of the first byte that is held. */
  readonly start: number;
  /** Offset after the last byte that is held. */
  readonly end: number;
  append(chunk: Uint8Array): void;
  /** The bytes from offset `from` on that lie together, at most `maxBytes`; undefined when there are none. */
  view(from: number, maxBytes: number): Uint8Array | undefined;
  /** All bytes from offset `from` on, at most `maxBytes`. */
  read(from: number, maxBytes: number): Uint8Array[];
  /** Forgets everything below `offset`; its memory will be used again. */
  dropTo(offset: number): void;
  /** Forgets everything; views that are out stay true. */
  clear(): void;
}

/** @param slabs without one, the memory is not used again. */
export function createByteQueue(slabs?: SlabPool): ByteQueue {
  return new ChunkQueue(slabs);
}

const NO_CHUNKS: Uint8Array[] = [];
const NO_OFFSETS: number[] = [];

/** A class, not closures: every stream has two, and most are empty. */
class ChunkQueue implements ByteQueue {
  readonly #slabs: SlabPool | undefined;
  /** Memory, and the offset of its first byte. All but the last are full. */
  #chunks: Uint8Array[] = NO_CHUNKS;
  #offsets: number[] = NO_OFFSETS;
  #head = 0;
  #first = 0;
  #end = 0;

  constructor(slabs: SlabPool | undefined) {
    this.#slabs = slabs;
  }

  get start(): number {
    return this.#first;
  }

  get end(): number {
    return this.#end;
  }

  append(chunk: Uint8Array): void {
    let from = 0;
    while (from < chunk.length) {
      const index = this.#chunks.length - 1;
      const last = this.#chunks[index];
      const used = this.#end - (this.#offsets[index] ?? 0);
      if (last === undefined || used === last.length) {
        this.#grow(chunk.length - from);
        continue;
      }
      const part =
        from === 0 && chunk.length <= last.length - used ? chunk : chunk.subarray(from, from + last.length - used);
      last.set(part, used);
      from += part.length;
      this.#end += part.length;
    }
  }

  view(from: number, maxBytes: number): Uint8Array | undefined {
    if (from < this.#first || from >= this.#end || maxBytes <= 0) return undefined;
    return this.#part(this.#indexOf(from), from, Math.min(this.#end, from + maxBytes));
  }

  read(from: number, maxBytes: number): Uint8Array[] {
    const found: Uint8Array[] = [];
    const to = Math.min(this.#end, from + maxBytes);
    if (from < this.#first || from >= to) return found;
    let offset = from;
    for (let index = this.#indexOf(from); offset < to; index += 1) {
      const part = this.#part(index, offset, to);
      if (part === undefined) break;
      found.push(part);
      offset += part.length;
    }
    return found;
  }

  dropTo(offset: number): void {
    this.#first = Math.max(this.#first, Math.min(offset, this.#end));
    if (this.#first === this.#end) {
      for (let index = this.#head; index < this.#chunks.length; index += 1) this.#free(index);
      this.#reset();
      return;
    }
    while ((this.#offsets[this.#head + 1] ?? this.#end) <= this.#first) {
      this.#free(this.#head);
      this.#head += 1;
    }
    if (this.#head >= 64 && this.#head * 2 >= this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#offsets = this.#offsets.slice(this.#head);
      this.#head = 0;
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
  }

  /** Memory for so many bytes that come now, or for the first of them. */
  #grow(bytes: number): void {
    const wanted = Math.max(bytes, this.#end - this.#first);
    const chunk = wanted < SLAB_FROM_BYTES ? new Uint8Array(wanted) : this.#slab();
    if (this.#chunks === NO_CHUNKS) {
      // Not pushed into an empty array, which would make room for many: few streams hold more than one chunk.
      this.#chunks = [chunk];
      this.#offsets = [this.#end];
    } else {
      this.#chunks.push(chunk);
      this.#offsets.push(this.#end);
    }
  }

  #slab(): Uint8Array {
    return this.#slabs?.acquire() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
  }

  #free(index: number): void {
    const chunk = this.#chunks[index];
    if (chunk?.length === SLAB_BYTES) this.#slabs?.release(chunk);
  }

  #part(index: number, from: number, to: number): Uint8Array | undefined {
    const chunk = this.#chunks[index];
    if (chunk === undefined) return undefined;
    const offset = this.#offsets[index] ?? from;
    const end = Math.min(chunk.length, to - offset);
    return chunk.length <= INLINE_BYTES ? chunk.slice(from - offset, end) : chunk.subarray(from - offset, end);
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
