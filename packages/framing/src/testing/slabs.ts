import { createSlabPool, type SlabPool } from "../bytes/slab-pool.ts";

/** A pool whose slabs change as soon as they are given back: a reader that still looks at one finds out. */
export function createTestSlabs(): SlabPool {
  const pool = createSlabPool();
  return {
    acquire: pool.acquire,
    release(slab) {
      slab.fill(0xdb);
      pool.release(slab);
    },
  };
}
