/**
 * The code of an error of the operating system or of Node, such as `ENOENT`.
 *
 * @returns "" for every other value.
 */
export function systemCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

const OUT_OF_FILES: ReadonlySet<string> = new Set(["EMFILE", "ENFILE"]);

/** Whether the process, or the machine, has as many open files as it may. */
export function isOutOfFiles(error: unknown): boolean {
  return OUT_OF_FILES.has(systemCode(error));
}
