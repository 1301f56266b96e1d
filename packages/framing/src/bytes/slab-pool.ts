/** Size of a slab. */
export const SLAB_BYTES = 16_384;
/** More spare slabs than this are left to the garbage collector. */
const MAX_SPARE = 1_024;

/**
 * Memory that is used again and again. A busy process would spend its time on fresh memory for each piece that passes.
 * V8 counts it and collects the whole heap after some ten megabytes, and the caches never hold it.
 */
export interface SlabPool {
  /** A slab of `SLAB_BYTES` with its old content. */
  acquire(): Uint8Array;
  /** Gives a slab back that has no reader any more. A slab that is never given back is garbage like any other. */
  release(slab: Uint8Array): void;
}

export function createSlabPool(): SlabPool {
  const spare: Uint8Array[] = [];
  return {
    acquire: () => spare.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES),
    release(slab) {
      if (spare.length < MAX_SPARE) spare.push(slab);
    },
  };
}
