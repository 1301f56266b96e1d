/** No period that divides a frame, a chunk or a window. */
const PERIOD = 251;

/** That many bytes which tell where they belong. */
export function patternBytes(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index += 1) bytes[index] = index % PERIOD;
  return bytes;
}
