import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { isNode, parseTypeScript } from "./syntax.ts";

/**
 * The unit tests that a source file's faults should fail. The one at the same path is first, then those beside it
 * that import the file, then the others, each the fewest imports away first. Only tests of the file's own workspace are near.
 *
 * @param file absolute path of a file in `WORKSPACE/src`.
 * @returns absolute paths.
 */
export async function nearestTests(file: string): Promise<readonly string[]> {
  const workspace = file.slice(0, file.lastIndexOf("/src/"));
  const paths = (await readdir(workspace, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => /^(src|test|scripts)\//.test(relative(workspace, path)));
  const importers = await importersOf(paths, await entriesOf(workspace));
  const same = join(workspace, "test", relative(join(workspace, "src"), file)).replace(/\.ts$/, ".test.ts");
  const near = reached(file, importers).filter((path) => path !== same);
  const isBeside = (path: string): boolean => dirname(path) === dirname(same);
  return [
    ...(paths.includes(same) ? [same] : []),
    ...near.filter(isBeside),
    ...near.filter((path) => !isBeside(path)),
  ].filter((path) => path.endsWith(".test.ts") && !path.endsWith(".conformance.test.ts"));
}

/** The names that the workspace has for others, which its own tests use as well, and the source file behind each. */
async function entriesOf(workspace: string): Promise<ReadonlyMap<string, string>> {
  const entries = new Map<string, string>();
  const manifest: unknown = JSON.parse(await readFile(join(workspace, "package.json"), "utf8").catch(() => "{}"));
  if (!isRecord(manifest) || !isRecord(manifest["exports"])) return entries;
  for (const [path, conditions] of Object.entries(manifest["exports"])) {
    const source = isRecord(conditions) ? conditions["source"] : undefined;
    if (typeof source === "string") entries.set(join(String(manifest["name"]), path), join(workspace, source));
  }
  return entries;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

async function importersOf(
  paths: readonly string[],
  entries: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const importers = new Map<string, string[]>();
  for (const path of paths) {
    for (const target of importsOf(path, await readFile(path, "utf8"), entries)) {
      importers.set(target, [...(importers.get(target) ?? []), path]);
    }
  }
  return importers;
}

function importsOf(path: string, source: string, entries: ReadonlyMap<string, string>): readonly string[] {
  const { body } = parseTypeScript(source);
  const targets: string[] = [];
  for (const statement of Array.isArray(body) ? body.filter(isNode) : []) {
    const from = statement["source"];
    if (!isNode(from) || statement["importKind"] === "type" || statement["exportKind"] === "type") continue;
    const target = String(from["value"]);
    const found = target.startsWith(".") ? resolve(dirname(path), target) : entries.get(target);
    if (found !== undefined) targets.push(found);
  }
  return targets;
}

/** Everything that imports a file, the nearest first. */
function reached(file: string, importers: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const found = new Set<string>([file]);
  for (const path of found) for (const importer of importers.get(path) ?? []) found.add(importer);
  return [...found].slice(1);
}
