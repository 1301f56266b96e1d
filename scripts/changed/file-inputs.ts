import { createHash } from "node:crypto";
import { type Dirent, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/** Text that may name a file: the text in quotes, up to where a template begins to compute. */
const LITERAL = /(["'`])((?:\.{1,2}(?:\/|(?=\1))|@?[\w.-]+\/)[^"'`$\n]*|[\w-]+\.\w+)/g;
const OWN_FOLDER = "import.meta.dirname";
const NOT_INPUTS: ReadonlySet<string> = new Set(["node_modules", "dist", ".git", ".turbo", ".cache"]);

/** Hashes of everything that a test file's result can depend on. */
export interface FileInputs {
  /** Differs as soon as one of them does. */
  keyOf(file: string): string;
  /** How many names lead from a file to the nearest of the others; infinite where none does. */
  stepsTo(file: string, others: ReadonlySet<string>): number;
}

/** How the workspace is laid out. */
export interface Layout {
  readonly root: string;
  /** File of each way into a package, as tests resolve them: `@cluster-connect/framing/ws`. */
  readonly entries: ReadonlyMap<string, string>;
  /** Inputs of every test, such as the lock file. */
  readonly common: readonly string[];
}

/**
 * Follows the names in quotes: imports, programs that the files start, files and folders that they read. Each may be
 * relative to the file, to its workspace or to the root. A file that exists counts, also where it is not used.
 */
export function createFileInputs(layout: Layout): FileInputs {
  const { root, entries } = layout;
  /** It only says where the root is; what is asked for below that is named where it is asked for. */
  const rootOnly = join(root, "e2e/src/stack/repository-file.ts");
  const hashes = new Map<string, string>();
  const named = new Map<string, readonly string[]>();

  const hashOf = (path: string): string => {
    const known = hashes.get(path);
    if (known !== undefined) return known;
    const hash = createHash("sha256");
    if (isFolder(path)) for (const name of inside(path)) hash.update(`${name}\0${hashOf(join(path, name))}\0`);
    else hash.update(readFileSync(path));
    const made = hash.digest("hex");
    hashes.set(path, made);
    return made;
  };

  const namesIn = (path: string): readonly string[] => {
    const known = named.get(path);
    if (known !== undefined) return known;
    const text = readFileSync(path, "utf8");
    const workspace = join(
      root,
      ...relative(root, path)
        .split("/")
        .slice(0, path.includes("/e2e/") ? 1 : 2),
    );
    const found = new Set<string>();
    for (const [, , literal = ""] of text.matchAll(LITERAL)) {
      const entry = entries.get(literal);
      const bases = literal.startsWith(".") ? [dirname(path)] : [workspace, root];
      for (const target of entry === undefined ? bases.map((base) => resolve(base, literal)) : [entry]) {
        const there = nearest(target, root);
        if (there !== undefined) found.add(there);
      }
    }
    if (text.includes(OWN_FOLDER)) for (const name of data(dirname(path))) found.add(join(dirname(path), name));
    const names = [...found];
    named.set(path, names);
    return names;
  };

  const next = (path: string): readonly string[] =>
    !path.endsWith(".ts") || path === rootOnly || isFolder(path) ? [] : namesIn(path);

  return {
    stepsTo: (file, others) => {
      const steps = new Map([[file, 0]]);
      for (const [path, count] of steps) {
        if (others.has(path)) return count;
        for (const name of next(path)) if (!steps.has(name)) steps.set(name, count + 1);
      }
      return Number.POSITIVE_INFINITY;
    },
    keyOf: (file) => {
      const all = new Set([file, ...layout.common]);
      for (const path of all) for (const name of next(path)) all.add(name);
      const hash = createHash("sha256");
      for (const path of [...all].sort()) hash.update(`${relative(root, path)}\0${hashOf(path)}\0`);
      return hash.digest("hex");
    },
  };
}

/** The path, or the folder that a computed name continues from; undefined where there is none in the workspace. */
function nearest(path: string, root: string): string | undefined {
  if (!`${path}/`.startsWith(`${root}/`) || path.includes("node_modules")) return undefined;
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined || stat.isSocket() ? undefined : path;
}

const isFolder = (path: string): boolean => statSync(path).isDirectory();

function entriesOf(folder: string): readonly Dirent[] {
  return readdirSync(folder, { withFileTypes: true }).filter(({ name }) => !NOT_INPUTS.has(name));
}

const inside = (folder: string): readonly string[] =>
  entriesOf(folder)
    .filter((entry) => (entry.isFile() || entry.isDirectory()) && !entry.name.endsWith(".tsbuildinfo"))
    .map(({ name }) => name)
    .sort();

/** Files of a folder that are not sources. */
const data = (folder: string): readonly string[] =>
  entriesOf(folder)
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".ts"))
    .map(({ name }) => name);
