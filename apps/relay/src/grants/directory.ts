import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { describeProblems, parseConfigText } from "@cluster-connect/service";
import { z } from "zod";
import { compileGrant, type Grant, NAMED_GRANT_SCHEMA } from "./grant.ts";

/** A grant file: `grants` is a list of grants, each with a name that no other file uses. */
const FILE = z.strictObject({ grants: z.array(NAMED_GRANT_SCHEMA) });

const MAX_FILE_BYTES = 1_048_576;
const MAX_FILES = 1_000;

/** What a directory held, and its grants. */
export interface GrantFiles {
  readonly grants: readonly Grant[];
  /** Changes when a file does. */
  readonly text: string;
}

/**
 * Reads every `*.yaml` and `*.yml` of a directory, in the order of their names, as one set. Names that begin with a dot
 * are left out, so a directory that Kubernetes mounts from a ConfigMap is read once.
 *
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`; `CC_CONFIG_INVALID` with every problem of every file.
 */
export async function readGrantFiles(directory: string): Promise<GrantFiles> {
  const files = await readTexts(directory);
  const text = JSON.stringify(files);
  const problems: string[] = [];
  const grants = new Map<string, Grant>();
  const fileOf = new Map<string, string>();
  for (const [file, content] of files) {
    const read = parseGrantFile(content, file, problems);
    for (const { name, spec } of read) {
      const other = fileOf.get(name);
      if (other !== undefined) problems.push(`${file}: the name ${name} is taken by ${other}`);
      fileOf.set(name, file);
      grants.set(name, compileGrant(`file/${name}`, "file", spec));
    }
  }
  if (problems.length === 0) return { grants: [...grants.values()], text };
  throw new ConnectError("CC_CONFIG_INVALID", `The grants in ${directory} are not valid: ${problems.join("; ")}`);
}

function parseGrantFile(content: string, file: string, problems: string[]): z.output<typeof FILE>["grants"] {
  try {
    const result = FILE.safeParse(parseConfigText(content, file));
    if (result.success) return result.data.grants;
    problems.push(...describeProblems(result.error).map((problem) => `${file}: ${problem}`));
  } catch (error) {
    problems.push(toConnectError(error).message);
  }
  return [];
}

async function readTexts(directory: string): Promise<readonly (readonly [file: string, content: string])[]> {
  try {
    const names = (await readdir(directory)).filter((name) => /^[^.].*\.ya?ml$/.test(name)).toSorted();
    if (names.length > MAX_FILES)
      throw new ConnectError("CC_CONFIG_INVALID", `${directory} has over ${MAX_FILES} files`);
    return await Promise.all(names.map(async (name) => [name, await readText(join(directory, name))] as const));
  } catch (cause) {
    if (cause instanceof ConnectError) throw cause;
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    if (code === "ENOENT") throw new ConnectError("CC_FILE_MISSING", `grantsDir: ${directory} is not there`, { cause });
    throw new ConnectError("CC_FILE_UNREADABLE", `grantsDir: ${directory} cannot be read: ${code}`, { cause });
  }
}

async function readText(path: string): Promise<string> {
  const bytes = await readFile(path);
  if (bytes.length > MAX_FILE_BYTES) {
    throw new ConnectError("CC_CONFIG_INVALID", `${path} is larger than ${MAX_FILE_BYTES} bytes`);
  }
  return bytes.toString("utf8");
}
