import { dirname, join, relative } from "node:path";
import { FOLDER_ARROWS, PACKAGE_ARROWS } from "./arrow-tables.ts";
import { type SourceFile, workspaceOf } from "./source-file.ts";

const IMPORTED = /(?:\bfrom|\bimport\(|^import)\s*"([^"]+)"/gm;
const OWN = "@cluster-connect/";
/** Files directly under `src`. */
const ROOT = ".";

/** Imports that no arrow of the tables allows, types included. */
export function forbiddenImports(files: readonly SourceFile[]): readonly string[] {
  return files.flatMap(({ path, text }) => {
    const workspace = workspaceOf(path);
    if (workspace === undefined) return [];
    return [...text.matchAll(IMPORTED)].flatMap(([, target = ""]) => {
      if (target.startsWith(OWN)) return foreign(path, workspace, target.slice(OWN.length));
      return target.startsWith(".") ? inside(path, workspace, target) : [];
    });
  });
}

function foreign(path: string, workspace: string, target: string): readonly string[] {
  const [name = "", entry] = target.split(/\/(.*)/s);
  const isTesting = path.includes("/src/testing/") || workspace === "bench" || workspace === "e2e";
  if (entry === "testing" && !isTesting) return [`${path} imports ${target}, which is for tests`];
  if (PACKAGE_ARROWS[workspace]?.includes(name) === true) return [];
  return [`${path} imports ${name}: ${workspace} may import ${PACKAGE_ARROWS[workspace]?.join(", ") || "no package"}`];
}

function inside(path: string, workspace: string, target: string): readonly string[] {
  const root = `${workspace}/src`;
  const resolved = join(dirname(path), target);
  if (!resolved.startsWith(`${root}/`) && !resolved.startsWith(`${workspace}/package.json`)) {
    return [`${path} imports ${target}, which is not in its own workspace`];
  }
  if (/(^|\/)(index|main)\.ts$/.test(relative(root, resolved)) && dirname(relative(root, resolved)) === ROOT) {
    return [`${path} imports ${target}: nobody in a workspace imports its entry`];
  }
  const table = FOLDER_ARROWS[workspace];
  const [from, to] = [folderOf(path, root), folderOf(resolved, root)];
  if (table === undefined || from === to || from === ROOT || table[from]?.includes(to) === true) return [];
  const allowed = table[from]?.join(", ") || "no other folder";
  return [`${path} imports from ${to === ROOT ? "the root" : to}: ${workspace}/src/${from} may import from ${allowed}`];
}

/** The first folder under `src`. */
function folderOf(path: string, root: string): string {
  return dirname(relative(root, path)).split("/", 1)[0] ?? ROOT;
}
