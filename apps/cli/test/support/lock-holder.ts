/** A process that takes a lock, says so, and keeps it until it is told to let go. */
import { once } from "node:events";
import { withFileLock } from "../../src/files/file-lock.ts";

const [lock = ""] = process.argv.slice(2);
const { signal } = new AbortController();
await withFileLock(
  lock,
  { signal, waitMs: 0 },
  () => new Error("held"),
  async () => {
    process.send?.("held");
    await once(process, "message");
  },
);
process.disconnect();
