/**
 * Formats and lints the files that something has changed for since the linters last passed: themselves, or what they
 * name, since rules follow types and circles through imports. The list is kept in node_modules/.cache; without it all are
 * read. biome has most rules; oxlint has those that ask the compiler for types, see .oxlintrc.json.
 */
import { spawnSync } from "node:child_process";
import { globSync, statSync } from "node:fs";
import { join } from "node:path";
import { readPassedKeys, writePassedKeys } from "./changed/passed-keys.ts";
import { ROOT, workspaceInputs } from "./changed/workspace-inputs.ts";
import { runScript } from "./run-script.ts";

const USAGE = `Usage: npx -y pnpm@12 lint

Formats and lints the files that have changed, or whose imports have, since they last passed.`;

/** More names than this in one command take longer than to read everything. */
const MAX_NAMED = 400;

async function main(): Promise<number> {
  const settings = globSync(["biome.json", ".oxlintrc.json", "scripts/lint/*.grit", ".gitignore"], {
    cwd: ROOT,
  });
  const manifests = globSync(["package.json", "{e2e,bench}/package.json", "tsconfig.base.json"], { cwd: ROOT });
  const inputs = workspaceInputs([...settings, ...manifests]);
  const keys = new Map(ownFiles().map((name) => [name, inputs.keyOf(join(ROOT, name))]));
  const passed = await readPassedKeys("lint");
  const changed = [...keys].flatMap(([name, key]) => (passed.has(key) ? [] : [name]));
  if (changed.length > 0) {
    const some = ["--no-errors-on-unmatched", "--files-ignore-unknown=true", ...changed];
    const status = lint("biome", ["check", ...(changed.length > MAX_NAMED ? ["."] : some)]);
    if (status !== 0) return status;
  }
  const sources = changed.filter((name) => name.endsWith(".ts"));
  if (sources.length > 0) {
    const status = lint("oxlint", ["--type-aware", "--quiet", ...(sources.length > MAX_NAMED ? ["."] : sources)]);
    if (status !== 0) return status;
  }
  await writePassedKeys("lint", [...keys.values()]);
  console.log(`${changed.length} of ${keys.size} files have changed for the linter`);
  return 0;
}

function lint(program: string, args: readonly string[]): number {
  return spawnSync(join(ROOT, "node_modules/.bin", program), args, { cwd: ROOT, stdio: "inherit" }).status ?? 1;
}

/** Every file that git knows, or would; biome leaves those that it has no rules for. */
function ownFiles(): readonly string[] {
  const listed = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  const isThere = (name: string): boolean => statSync(join(ROOT, name), { throwIfNoEntry: false })?.isFile() ?? false;
  return listed.stdout.split("\0").filter((name) => name !== "" && isThere(name));
}

await runScript(USAGE, main);
