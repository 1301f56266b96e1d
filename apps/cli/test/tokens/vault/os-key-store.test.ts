import { execFile, spawnSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL("../../support/key-store-program.ts", import.meta.url));
const missing = ["dbus-run-session", "gnome-keyring-daemon"].filter(
  (name) => spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0,
);

/** Runs the program twice beside a Secret Service of its own, unlocked or not. */
async function beside(home: string, unlocked: boolean): Promise<readonly string[]> {
  const start = unlocked ? "printf test | gnome-keyring-daemon --unlock" : "gnome-keyring-daemon --start";
  const program = `"${process.execPath}" --conditions=source "${SCRIPT}"`;
  const script = `${start} --components=secrets >/dev/null 2>&1; ${program} write; ${program} read`;
  const env = { PATH: process.env["PATH"], HOME: home, XDG_RUNTIME_DIR: home };
  const { stdout } = await run("dbus-run-session", ["--", "sh", "-c", script], { env });
  return stdout.trimEnd().split("\n");
}

test("a login sealed with a key in the Secret Service is read by another process", async ({ skip }) => {
  skip(missing.length > 0, `${missing.join(" and ")} not installed`);
  const home = await temporaryFolder();
  expect(await beside(home, true)).toEqual(["kept with Secret Service", "read jane"]);
  const folder = join(home, ".local/state/cluster-connect/logins");
  const [name = ""] = await readdir(folder);
  expect(await readFile(join(folder, name), "utf8")).not.toContain("secret-refresh-token");
});

test("beside a Secret Service that nobody can unlock the file is used alone", async ({ skip }) => {
  skip(missing.length > 0, `${missing.join(" and ")} not installed`);
  expect(await beside(await temporaryFolder(), false)).toEqual(["kept with file", "read jane"]);
});
