import { readFile } from "node:fs/promises";
import { ConnectError } from "@cluster-connect/protocol";
import { fileError, systemCode } from "./system-error.ts";

const MAX_BYTES = 16_777_216;

/**
 * Reads a whole UTF-8 file.
 *
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` naming the file.
 */
export async function readTextFile(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > MAX_BYTES) throw new ConnectError("CC_FILE_UNREADABLE", `${path} is larger than 16 MiB`);
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    if (cause instanceof TypeError)
      throw new ConnectError("CC_FILE_UNREADABLE", `${path} is not UTF-8 text`, { cause });
    throw fileError(path, "read", cause);
  }
}

/** The same, or undefined when there is no such file. */
export async function readTextFileIfAny(path: string): Promise<string | undefined> {
  try {
    return await readTextFile(path);
  } catch (error) {
    if (error instanceof ConnectError && systemCode(error.cause) === "ENOENT") return undefined;
    throw error;
  }
}
