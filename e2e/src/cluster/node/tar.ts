/** A file or symbolic link in an archive. */
export type TarEntry =
  | { readonly kind: "file"; readonly path: string; readonly content: Uint8Array; readonly mode?: number }
  | { readonly kind: "link"; readonly path: string; readonly to: string }
  | { readonly kind: "folder"; readonly path: string; readonly mode?: number };

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const TYPES = { file: "0", link: "2", folder: "5" } as const;

const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, "0")}\0`;

/**
 * A ustar header: name, mode, owner, size, time, sum of its own bytes, type, link.
 *
 * @throws RangeError on a name of more than 100 bytes.
 */
function header(entry: TarEntry, size: number): Buffer {
  const to = entry.kind === "link" ? entry.to : "";
  if (Buffer.byteLength(entry.path) > NAME_BYTES || Buffer.byteLength(to) > NAME_BYTES) {
    throw new RangeError(`${entry.path} is too long for a tar header`);
  }
  const block = Buffer.alloc(BLOCK_BYTES);
  const mode = (entry.kind === "link" ? undefined : entry.mode) ?? (entry.kind === "file" ? 0o644 : 0o755);
  block.write(entry.path, 0);
  block.write(octal(mode, 7) + octal(0, 7) + octal(0, 7) + octal(size, 11) + octal(0, 11), 100);
  block.write(" ".repeat(8) + TYPES[entry.kind] + to, 148);
  block.write("ustar\x0000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)} `, 148);
  return block;
}

/** Packs entries into a tar archive; everything belongs to root and is as old as time. */
export function packTar(entries: readonly TarEntry[]): Buffer {
  const parts = entries.flatMap((entry) => {
    const content = entry.kind === "file" ? entry.content : new Uint8Array();
    const padding = (BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES;
    return [header(entry, content.length), content, Buffer.alloc(padding)];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)]);
}
