import { access } from "node:fs/promises";

/** Whether something is at the path. */
export async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
