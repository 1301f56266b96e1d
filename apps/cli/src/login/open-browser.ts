import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { Environment } from "../deps.ts";

/** Whether a browser of this machine can show something to the person at the terminal. */
export function hasBrowser(platform: NodeJS.Platform, env: Environment): boolean {
  if (env["BROWSER"] !== undefined && env["BROWSER"] !== "") return true;
  if (platform === "darwin" || platform === "win32") return env["SSH_CONNECTION"] === undefined;
  return (env["DISPLAY"] ?? "") !== "" || (env["WAYLAND_DISPLAY"] ?? "") !== "";
}

/**
 * Shows an address in the person's browser.
 *
 * @returns false when there is none, it could not be started, or the address is none of the web. An issuer's address
 *   must not open a file or start another program.
 */
export async function openBrowser(url: string, platform: NodeJS.Platform, env: Environment): Promise<boolean> {
  if (!/^https?:\/\//i.test(url) || !hasBrowser(platform, env)) return false;
  for (const [command = "", ...args] of commandsFor(url, platform, env))
    if (await startBrowser(command, args)) return true;
  return false;
}

async function startBrowser(command: string, args: readonly string[]): Promise<boolean> {
  return await new Promise((resolve) => {
    const child = spawn(command, args, { stdio: "ignore", detached: true });
    child.on("error", () => resolve(false));
    child.once("spawn", () => {
      child.unref();
      resolve(true);
    });
  });
}

/** Commands to be tried one after another, each with the address in it. */
function commandsFor(url: string, platform: NodeJS.Platform, env: Environment): readonly (readonly string[])[] {
  const chosen = env["BROWSER"] ?? "";
  if (chosen !== "") return browserCommands(chosen, url, platform);
  switch (platform) {
    case "darwin":
      return [["open", url]];
    case "win32":
      return [["rundll32", "url.dll,FileProtocolHandler", url]];
    default:
      return [["xdg-open", url]];
  }
}

/**
 * The commands of `BROWSER`, as xdg-open and Python read it. The variable holds several commands parted by `:` (`;` on
 * Windows), each perhaps with arguments, quotes, and `%s` where the address goes.
 */
function browserCommands(setting: string, url: string, platform: NodeJS.Platform): readonly (readonly string[])[] {
  // A path may hold blanks and colons.
  if (existsSync(setting)) return [[setting, url]];
  return setting
    .split(platform === "win32" ? ";" : ":")
    .map((command) => wordsOf(command))
    .filter((words) => words.length > 0)
    .map((words) => {
      const named = words.map((word) => word.replaceAll("%s", () => url));
      return words.some((word) => word.includes("%s")) ? named : [...words, url];
    });
}

function wordsOf(command: string): readonly string[] {
  return [...command.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare ?? "",
  );
}
