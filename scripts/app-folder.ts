import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, chmod, copyFile, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";

export const ROOT: string = resolve(import.meta.dirname, "..");

/** The programs that come as a folder or an image. */
export const APPS = ["relay", "agent", "auth-proxy", "cli"] as const;
export type App = (typeof APPS)[number];

/** Runs a command in the workspace; what it prints on standard output is returned when `quiet`. */
export async function run(
  command: string,
  args: readonly string[],
  options: { readonly quiet?: boolean } = {},
): Promise<string> {
  const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", options.quiet ? "pipe" : "inherit", "inherit"] });
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    output += chunk.toString("utf8");
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${command} ${args[0] ?? ""} ended with ${String(code)}`);
  return output;
}

/** The pnpm that the workspace names, and no later one. */
const { packageManager } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { packageManager: string };
export const pnpm = (...args: readonly string[]): Promise<string> =>
  run("npx", ["-y", packageManager, ...args], { quiet: true });

/** Compiles the apps and what they are made of. */
export async function compileApps(apps: readonly App[]): Promise<void> {
  await run("tsc", ["-b", ...apps.map((app) => `apps/${app}`)]);
}

/**
 * Makes a folder that Node runs as it is: the compiled app, its production dependencies and the license.
 *
 * @param folder is replaced.
 * @throws when the program is not in it afterwards: pnpm leaves out what is not compiled, and does not say so.
 */
export async function makeAppFolder(app: App, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await pnpm(`--filter=@cluster-connect/${app}`, "deploy", "--prod", "--no-optional", "--legacy", folder);
  await copyFile(join(ROOT, "LICENSE"), join(folder, "LICENSE"));
  const main = join(folder, "dist", "main.js");
  await access(main).catch(() => {
    throw new Error(`${folder} has no dist/main.js: apps/${app} is not compiled`);
  });
  // Its first line says with which of Node's options it runs.
  await chmod(main, 0o755);
}
