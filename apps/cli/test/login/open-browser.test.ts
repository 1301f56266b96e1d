import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { openBrowser } from "../../src/login/open-browser.ts";

test.each(["file:///etc/passwd", "ms-settings:", "javascript:alert(1)", "calc.exe", "--version", "httpx://a"])(
  "CVE-2025-6514: an issuer cannot have %s opened",
  async (address) => {
    expect(await openBrowser(address, "linux", { BROWSER: "/bin/true" })).toBe(false);
  },
);

test.each(["https://id.example.com/authorize?state=1", "http://127.0.0.1:8080/authorize"])(
  "%s is opened",
  async (address) => {
    expect(await openBrowser(address, "linux", { BROWSER: "/bin/true" })).toBe(true);
  },
);

const ADDRESS = "https://id.example.com/authorize?state=1&x=%25s";

/** A browser that writes its arguments into a file. */
async function browser(name = "browser"): Promise<{ readonly path: string; seen(): Promise<string> }> {
  const folder = await temporaryFolder();
  const path = join(folder, name);
  await writeFile(path, `#!/bin/sh\nprintf '%s\\n' "$@" > "${folder}/part"\nmv "${folder}/part" "${folder}/seen"\n`);
  await chmod(path, 0o755);
  return {
    path,
    async seen() {
      await expect.poll(async () => await readFile(join(folder, "seen"), "utf8").catch(() => "")).not.toBe("");
      return await readFile(join(folder, "seen"), "utf8");
    },
  };
}

test.each<readonly [string, (path: string) => string, readonly string[]]>([
  ["a program", (path) => path, [ADDRESS]],
  ["a program with arguments", (path) => `${path} --new-window 'a b' "c"`, ["--new-window", "a b", "c", ADDRESS]],
  ["a place for the address", (path) => `${path} --app=%s -x`, [`--app=${ADDRESS}`, "-x"]],
  ["several, of which the first is not there", (path) => `/no/such/browser:${path} -n`, ["-n", ADDRESS]],
  ["nothing before a colon", (path) => `:${path}`, [ADDRESS]],
])("BROWSER may name %s", async (_, setting, expected) => {
  const { path, seen } = await browser();
  expect(await openBrowser(ADDRESS, "linux", { BROWSER: setting(path) })).toBe(true);
  expect(await seen()).toBe(`${expected.join("\n")}\n`);
});

test("a browser whose path has blanks is taken whole", async () => {
  const { path, seen } = await browser("my browser");
  expect(await openBrowser(ADDRESS, "linux", { BROWSER: path })).toBe(true);
  expect(await seen()).toBe(`${ADDRESS}\n`);
});

test.each(["/no/such/browser", "/no/a:/no/b", ":"])("BROWSER=%s starts none, and that is said", async (setting) => {
  expect(await openBrowser(ADDRESS, "linux", { BROWSER: setting })).toBe(false);
});
