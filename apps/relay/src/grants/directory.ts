import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "@cluster-connect/base";
import { ConnectError, toConnectError } from "@cluster-connect/protocol";
import { describeProblems, parseConfigText } from "@cluster-connect/service";
import { z } from "zod";
import { compileGrant, type Grant, NAMED_GRANT_SCHEMA, type NamedGrantSpec } from "./grant.ts";

/** A grant file: `grants` is a list of grants, each with a name that no other file uses. */
const FILE = z.strictObject({ grants: z.array(NAMED_GRANT_SCHEMA) });

/** The same with entries that are wrong. */
const ENTRIES = z.strictObject({ grants: z.array(z.unknown()) });

const NAMED = z.object({ name: z.string() });

const MAX_FILE_BYTES = 1_048_576;
const MAX_FILES = 1_000;

/** Grants of a directory, with its text and faults. */
export interface GrantFiles {
  readonly grants: readonly Grant[];
  /** Changes when a file does. */
  readonly text: string;
  /** Faults of entries that could not be taken, a line each. */
  readonly problems: readonly string[];
  /** The specs of each file, also those that went on because their entry is wrong now. */
  readonly byFile: ReadonlyMap<string, readonly NamedGrantSpec[]>;
}

/** An empty directory. */
export const NO_GRANT_FILES: GrantFiles = { grants: [], text: "", problems: [], byFile: new Map() };

/**
 * Reads every `*.yaml` and `*.yml` of a directory, in the order of their names, as one set. Names that begin with a dot
 * are left out, so a directory that Kubernetes mounts from a ConfigMap is read once. A wrong entry costs nothing but
 * itself: where `former` has a grant in its place, that goes on.
 *
 * @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE`.
 */
export async function readGrantFiles(directory: string, former: GrantFiles = NO_GRANT_FILES): Promise<GrantFiles> {
  const files = await readTexts(directory);
  const text = JSON.stringify(files);
  const problems: string[] = [];
  const byFile = new Map<string, readonly NamedGrantSpec[]>();
  const grants = new Map<string, Grant>();
  const fileOf = new Map<string, string>();
  for (const [file, content] of files) {
    const read = parseGrantFile(content, file);
    problems.push(...read.problems);
    const specs = [...read.specs, ...stillMeant(read, former.byFile.get(file) ?? [])];
    byFile.set(file, specs);
    for (const { name, spec } of specs) {
      const other = fileOf.get(name);
      if (other !== undefined) {
        problems.push(`${file}: the name ${name} is taken by ${other}`);
        continue;
      }
      fileOf.set(name, file);
      grants.set(name, compileGrant(`file/${name}`, "file", spec));
    }
  }
  return { grants: [...grants.values()], text, problems, byFile };
}

/** A file's grants and faults. */
interface ReadGrantFile {
  readonly specs: readonly NamedGrantSpec[];
  readonly problems: readonly string[];
  /** Names of wrong entries; undefined where some entry has none, or the file is no list of grants at all. */
  readonly wrongNames: readonly string[] | undefined;
}

/** Former grants whose place holds a wrong entry now. */
function stillMeant(
  { specs, wrongNames }: ReadGrantFile,
  former: readonly NamedGrantSpec[],
): readonly NamedGrantSpec[] {
  const names = new Set(specs.map(({ name }) => name));
  return former.filter(({ name }) => !names.has(name) && (wrongNames?.includes(name) ?? true));
}

/** As {@link readGrantFiles}. @throws ConnectError also `CC_CONFIG_INVALID` with every problem of every file. */
export async function requireGrantFiles(directory: string): Promise<GrantFiles> {
  const files = await readGrantFiles(directory);
  const { problems } = files;
  if (problems.length === 0) return files;
  throw new ConnectError("CC_CONFIG_INVALID", `The grants in ${directory} are not valid: ${problems.join("; ")}`);
}

function parseGrantFile(content: string, file: string): ReadGrantFile {
  try {
    const value = parseConfigText(content, file);
    const result = FILE.safeParse(value);
    if (result.success) return { specs: result.data.grants, problems: [], wrongNames: [] };
    const problems = describeProblems(result.error).map((problem) => `${file}: ${problem}`);
    const entries = ENTRIES.safeParse(value).data?.grants;
    if (entries === undefined) return { specs: [], problems, wrongNames: undefined };
    const specs = entries.flatMap((entry) => NAMED_GRANT_SCHEMA.safeParse(entry).data ?? []);
    const wrong = entries.filter((entry) => !NAMED_GRANT_SCHEMA.safeParse(entry).success);
    const names = wrong.map((entry) => NAMED.safeParse(entry).data?.name);
    return {
      specs,
      problems,
      wrongNames: names.includes(undefined) ? undefined : names.filter((name) => name !== undefined),
    };
  } catch (error) {
    return { specs: [], problems: [toConnectError(error).message], wrongNames: undefined };
  }
}

async function readTexts(directory: string): Promise<readonly (readonly [file: string, content: string])[]> {
  try {
    const names = (await readdir(directory)).filter((name) => /^[^.].*\.ya?ml$/.test(name)).toSorted();
    if (names.length > MAX_FILES)
      throw new ConnectError("CC_CONFIG_INVALID", `${directory} has over ${MAX_FILES} files`);
    return await Promise.all(names.map(async (name) => [name, await readText(join(directory, name))] as const));
  } catch (cause) {
    if (cause instanceof ConnectError) throw cause;
    const code = systemCode(cause);
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
