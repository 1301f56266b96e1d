/** Memory of a Node process after a full collection that gave back what was free, in bytes. */
export interface MemoryReport {
  readonly residentBytes: number;
  /** Memory that JavaScript holds: its objects and the buffers outside of its heap. */
  readonly heldBytes: number;
}
