const WORD_BYTES = 4;

/**
 * Masks or unmasks in place, word by word: a byte at a time costs as much as everything else together.
 *
 * @param offset how many bytes of the frame's payload came before these.
 */
export function applyMask(bytes: Uint8Array, key: Uint8Array, offset: number): void {
  const toWord = (WORD_BYTES - (bytes.byteOffset % WORD_BYTES)) % WORD_BYTES;
  const head = Math.min(bytes.length, toWord);
  const wordCount = (bytes.length - head) >>> 2;
  const tail = head + wordCount * WORD_BYTES;
  applyBytes(bytes, key, offset, 0, head);
  if (wordCount > 0) {
    const turned = Uint8Array.from([0, 1, 2, 3], (index) => key[(offset + head + index) & 3] ?? 0);
    const word = new Int32Array(turned.buffer)[0] ?? 0;
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + head, wordCount);
    for (let index = 0; index < wordCount; index += 1) words[index] = (words[index] ?? 0) ^ word;
  }
  applyBytes(bytes, key, offset, tail, bytes.length);
}

function applyBytes(bytes: Uint8Array, key: Uint8Array, offset: number, from: number, to: number): void {
  for (let index = from; index < to; index += 1) bytes[index] = (bytes[index] ?? 0) ^ (key[(offset + index) & 3] ?? 0);
}
