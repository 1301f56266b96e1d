import { readFile } from "node:fs/promises";
import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { fileError } from "./file-error.ts";

const MAX_BYTES = 16_777_216;

/** How a file's text is written; the mark at its beginning says so. */
export type TextEncoding = "utf-8" | "utf-8 with mark" | "utf-16le" | "utf-16be";

export interface EncodedText {
  readonly text: string;
  readonly encoding: TextEncoding;
}

const MARKS: readonly (readonly [TextEncoding, readonly number[]])[] = [
  ["utf-8 with mark", [0xef, 0xbb, 0xbf]],
  ["utf-16le", [0xff, 0xfe]],
  ["utf-16be", [0xfe, 0xff]],
];

/**
 * Reads a whole text file: UTF-8, or UTF-16 with the mark that Windows' programs put first.
 *
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` naming the file.
 */
export async function readTextFile(path: string): Promise<string> {
  return (await readEncodedFile(path)).text;
}

/** The same, with how the text was written. */
async function readEncodedFile(path: string): Promise<EncodedText> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > MAX_BYTES) throw new ConnectError("CC_FILE_UNREADABLE", `${path} is larger than 16 MiB`);
    return decodeText(bytes);
  } catch (cause) {
    if (cause instanceof TypeError)
      throw new ConnectError("CC_FILE_UNREADABLE", `${path} is not UTF-8 text`, { cause });
    throw fileError(path, "read", cause);
  }
}

/** @throws TypeError when the bytes are no text. */
export function decodeText(bytes: Uint8Array): EncodedText {
  const found = MARKS.find(([, mark]) => mark.every((byte, index) => bytes[index] === byte));
  const encoding = found?.[0] ?? "utf-8";
  const label = encoding === "utf-8 with mark" ? "utf-8" : encoding;
  return { encoding, text: new TextDecoder(label, { fatal: true }).decode(bytes) };
}

/** The mirror of {@link readEncodedFile}. */
export function encodeText({ text, encoding }: EncodedText): Buffer {
  const marked = encoding === "utf-8" ? text : `\ufeff${text}`;
  const bytes = Buffer.from(marked, encoding.startsWith("utf-16") ? "utf16le" : "utf8");
  return encoding === "utf-16be" ? bytes.swap16() : bytes;
}

/** As {@link readTextFile}, or undefined when there is no such file. */
export async function readTextFileIfAny(path: string): Promise<string | undefined> {
  return (await readEncodedFileIfAny(path))?.text;
}

/** As {@link readEncodedFile}, or undefined when there is no such file. */
export async function readEncodedFileIfAny(path: string): Promise<EncodedText | undefined> {
  try {
    return await readEncodedFile(path);
  } catch (error) {
    if (error instanceof ConnectError && systemCode(error.cause) === "ENOENT") return undefined;
    throw error;
  }
}
