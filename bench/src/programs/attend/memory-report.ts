/** Memory of a Node process after a full collection, in bytes. */
export interface MemoryReport {
  readonly residentBytes: number;
  /** What JavaScript holds: its objects and the buffers outside of its heap. */
  readonly heldBytes: number;
}
