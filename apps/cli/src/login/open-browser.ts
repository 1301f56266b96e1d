import { spawn } from "node:child_process";
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
 * @returns false when there is none, it could not be started, or the address is none of the web: what an issuer names
 *   must not open a file or start another program.
 */
export async function openBrowser(url: string, platform: NodeJS.Platform, env: Environment): Promise<boolean> {
  if (!/^https?:\/\//i.test(url) || !hasBrowser(platform, env)) return false;
  const [command, ...args] = commandFor(platform, env);
  if (command === undefined) return false;
  return await new Promise((resolve) => {
    const child = spawn(command, [...args, url], { stdio: "ignore", detached: true });
    child.once("error", () => resolve(false));
    child.once("spawn", () => {
      child.unref();
      resolve(true);
    });
  });
}

function commandFor(platform: NodeJS.Platform, env: Environment): readonly string[] {
  const chosen = env["BROWSER"];
  if (chosen !== undefined && chosen !== "") return [chosen];
  switch (platform) {
    case "darwin":
      return ["open"];
    case "win32":
      return ["rundll32", "url.dll,FileProtocolHandler"];
    default:
      return ["xdg-open"];
  }
}
