/** Below this it costs more than it saves. */
const WORTH_BYTES = 4_096;

/**
 * Frees what a socket read, as soon as it was copied: the garbage collector would come too late and too often.
 *
 * @param chunk as the `data` event of a socket of Node's gave it. No reader may look at it, or at a part of it, again.
 */
export function discard(chunk: Uint8Array): void {
  const { buffer } = chunk;
  const isWhole = chunk.length >= WORTH_BYTES && chunk.length === buffer.byteLength;
  if (isWhole && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
