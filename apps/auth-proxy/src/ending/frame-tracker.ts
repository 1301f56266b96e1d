/** Follows the frames of an upgraded stream by their lengths alone, to know where a frame of our own may stand. */
export interface FrameTracker {
  /**
   * Takes the next bytes on their way to the caller.
   *
   * @param options.toBoundary Takes no more than up to the next boundary.
   * @returns how many bytes were taken.
   */
  push(bytes: Uint8Array, options?: { readonly toBoundary?: boolean }): number;
  /** Whether a whole message has just ended, so that a frame of our own may follow. */
  atBoundary(): boolean;
}
