/** `pnpm osv`: known vulnerabilities of the packages that the lockfile names, from the OSV database. */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { parse } from "yaml";
import { findVulnerable, packagesOf } from "./osv/query.ts";
import { runScript } from "./run-script.ts";

const USAGE = `Usage: npx -y pnpm@12 osv [--url URL] [--lockfile FILE]

Asks the OSV database about every package of the lockfile; exit code 1 when one has a known vulnerability. Where the
database does not answer, that is said, and is a failure only with CI set.

  --url URL        another database with the same interface
  --lockfile FILE  another lockfile than the workspace's`;

const DATABASE = "https://api.osv.dev";

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      url: { type: "string", default: DATABASE },
      lockfile: { type: "string", default: join(resolve(import.meta.dirname, ".."), "pnpm-lock.yaml") },
    },
  });
  const packages = packagesOf(parse(await readFile(values.lockfile, "utf8")));
  const answer = await findVulnerable(packages, { url: values.url }, { fetch });
  if (answer.kind === "away") {
    console.log(`The database did not answer (${answer.reason}); ${packages.length} packages were not checked.`);
    return process.env["CI"] ? 1 : 0;
  }
  for (const { name, version, ids } of answer.vulnerable) console.log(`${name} ${version}: ${ids.join(", ")}`);
  console.log(`${answer.vulnerable.length} of ${packages.length} packages have a known vulnerability.`);
  return answer.vulnerable.length === 0 ? 0 : 1;
}

await runScript(USAGE, main);
