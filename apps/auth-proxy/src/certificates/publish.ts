import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { writeFileAtomic } from "@cluster-connect/service";

/**
 * Writes the authorities that clients are to trust where the agent finds them.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` naming the file.
 */
export async function publishAuthorities(path: string, trustPem: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFileAtomic(path, trustPem, { mode: 0o644 });
  } catch (cause) {
    throw new ConnectError("CC_FILE_UNREADABLE", `publishCaPath: ${path} cannot be written`, { cause });
  }
}
