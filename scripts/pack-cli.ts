/** `pnpm pack:cli`: the CLI as a package without dependencies, for `npm install -g`. */
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ROOT, run } from "./app-folder.ts";
import { runScript } from "./run-script.ts";

const USAGE = `Usage: npx -y pnpm@12 pack:cli

Packs the CLI into dist/cluster-connect.tgz. \`npm install -g ./dist/cluster-connect.tgz\` puts cluster-connect on PATH.`;

const FOLDER: string = join(ROOT, "apps", "cli", "dist", "npm");
const ARCHIVE: string = join(ROOT, "dist", "cluster-connect.tgz");

async function main(args: readonly string[]): Promise<number> {
  if (args.length > 0) throw new Error(`pack:cli takes no arguments, not ${args.join(" ")}`);
  await run(process.execPath, [join(ROOT, "apps", "cli", "scripts", "pack.ts"), "--npm", FOLDER]);
  const place = await mkdtemp(join(tmpdir(), "cc-pack-"));
  try {
    const name = await run("npm", ["pack", FOLDER, "--silent", "--pack-destination", place], { quiet: true });
    await mkdir(dirname(ARCHIVE), { recursive: true });
    await copyFile(join(place, name.trim()), ARCHIVE);
  } finally {
    await rm(place, { recursive: true, force: true });
  }
  console.log("The CLI is in dist/cluster-connect.tgz; install it with: npm install -g ./dist/cluster-connect.tgz");
  return 0;
}

await runScript(USAGE, main);
