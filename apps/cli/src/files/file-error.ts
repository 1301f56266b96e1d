import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "not permitted",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of its path is not a folder",
  ENOSPC: "no space left",
  EROFS: "the file system is read-only",
  ELOOP: "its symbolic links form a loop",
};

/** A file's failure in one line that names the file: `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`. */
export function fileError(
  path: string,
  verb: "read" | "written" | "created" | "removed",
  cause: unknown,
): ConnectError {
  if (cause instanceof ConnectError) return cause;
  const code = systemCode(cause);
  if (code === "ENOENT") return new ConnectError("CC_FILE_MISSING", `There is no file ${path}`, { cause });
  const reason = REASONS[code] ?? (code === "" ? "unknown reason" : code);
  return new ConnectError("CC_FILE_UNREADABLE", `${path} cannot be ${verb}: ${reason}`, { cause });
}
