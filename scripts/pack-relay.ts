/** `pnpm pack:relay [FOLDER]`: the relay as a folder that Node runs. */
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { compileApps, makeAppFolder, ROOT } from "./app-folder.ts";
import { runScript } from "./run-script.ts";

const USAGE = `Usage: npx -y pnpm@12 pack:relay [FOLDER]

Makes a folder with the relay and all that it needs beside Node: dist/relay, or the one that is named. A folder that
holds anything else than a relay is left as it is.`;

/** An own folder of that name must not be lost by a slip of the hand. */
async function requireReplaceable(folder: string): Promise<void> {
  const names: readonly string[] = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const isRelay = ["dist", "node_modules", "package.json"].every((name) => names.includes(name));
  if (names.length > 0 && !isRelay) throw new Error(`${folder} is not empty and holds no relay: name another folder`);
}

async function main(args: readonly string[]): Promise<number> {
  if (args.length > 1) throw new Error(`Only one folder can be made, not ${args.length}`);
  // As the person who typed it sees the path; pnpm runs scripts in the workspace's own folder.
  const folder = resolve(process.env["INIT_CWD"] ?? "", args[0] ?? join(ROOT, "dist", "relay"));
  await requireReplaceable(folder);
  await compileApps(["relay"]);
  await makeAppFolder("relay", folder);
  console.log(`The relay is in ${folder}; start it with: ${join(folder, "dist", "main.js")} --help`);
  return 0;
}

await runScript(USAGE, main);
