import { readFileSync } from "node:fs";

/** The user that a database runs as: it refuses to be root, and Debian's package makes a user for it. Undefined: as we are. */
export function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const lines = readFileSync("/etc/passwd", "utf8").split("\n");
  const line = lines.find((text) => text.startsWith("postgres:")) ?? lines.find((text) => text.startsWith("nobody:"));
  const [, , uid, gid] = line?.split(":") ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}
