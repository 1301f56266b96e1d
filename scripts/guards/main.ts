/** Holds the rules of the house that neither types nor the linter see; says each breach on a line of its own. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { forbiddenImports } from "./arrows.ts";
import { untestedBounds } from "./bounds.ts";
import { misnumberedDecisions } from "./decisions.ts";
import { fleetingErrorListeners } from "./error-listeners.ts";
import { crowdedFolders } from "./folders.ts";
import { idleWords } from "./glossary.ts";
import { freeRelatives } from "./sentences.ts";
import type { SourceFile } from "./source-file.ts";
import { packedFields } from "./spreads.ts";
import { strayQueries } from "./sql.ts";
import { doubledTypes, idleExceptions } from "./type-names.ts";

const listed = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" });
const sources: readonly SourceFile[] = listed.stdout
  .split("\0")
  .filter((path) => path.endsWith(".ts"))
  .flatMap((path) => readIfThere(path));
const files = sources.filter(({ path }) => !path.includes("/test/"));
const pages: readonly SourceFile[] = listed.stdout
  .split("\0")
  .filter((path) => path.endsWith(".md"))
  .flatMap((path) => readIfThere(path));
const breaches = [
  ...crowdedFolders(files),
  ...forbiddenImports(files),
  ...doubledTypes(files),
  ...idleExceptions(files),
  ...strayQueries(files),
  ...packedFields(sources),
  ...untestedBounds(sources),
  ...fleetingErrorListeners(files),
  ...misnumberedDecisions(pages),
  ...freeRelatives([...sources, ...pages]),
  ...idleWords(readFileSync("ARCHITECTURE.md", "utf8"), files),
];
for (const breach of breaches) console.error(breach);
process.exitCode = breaches.length === 0 ? 0 : 1;

/** A file that was deleted and not yet committed is still listed. */
function readIfThere(path: string): readonly SourceFile[] {
  try {
    return [{ path, text: readFileSync(path, "utf8") }];
  } catch {
    return [];
  }
}
