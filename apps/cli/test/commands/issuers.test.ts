import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseAuthenticationConfiguration } from "@cluster-connect/auth";
import { expect, test } from "vitest";
import { testCli } from "../support/cli.ts";
import { tempFolder } from "../support/temp-folder.ts";

const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const ENTRA = ["entra", "--tenant", TENANT, "--audience", "client"];
const GITHUB = ["github-actions", "--audience", "prod", "--repository-id", "42", "--environment", "production"];

test.each([
  [ENTRA, `https://login.microsoftonline.com/${TENANT}/v2.0`],
  [[...ENTRA, "--token-version", "1", "--allow-apps", "--prefix", "aad:"], `https://sts.windows.net/${TENANT}/`],
  [GITHUB, "https://token.actions.githubusercontent.com"],
  [["gitlab", "--audience", "prod", "--project-id", "7", "--allow-unprotected"], "https://gitlab.com"],
  [
    ["azure-pipelines", "--organization-id", TENANT, "--subject", "sc://o/p/c"],
    `https://vstoken.dev.azure.com/${TENANT}`,
  ],
  [
    ["oidc", "--url", "https://id.example.com", "--audience", "a", "--groups-claim", "groups"],
    "https://id.example.com",
  ],
])("issuers %j prints a file that names the issuer", async (words, url) => {
  const cli = testCli(await tempFolder());
  expect(await cli.run("issuers", ...words)).toBe(0);
  expect(parseAuthenticationConfiguration(cli.out()).issuers.map((issuer) => issuer.url)).toEqual([url]);
});

test("a second issuer is added to the file, whose first stays", async () => {
  const folder = await tempFolder();
  const path = join(folder, "issuers.yaml");
  const cli = testCli(folder);
  expect(await cli.run("issuers", ...ENTRA, "-f", path)).toBe(0);
  expect(await cli.run("issuers", ...GITHUB, "-f", path)).toBe(0);
  expect(parseAuthenticationConfiguration(await readFile(path, "utf8")).issuers).toHaveLength(2);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(cli.out()).toBe("");
});

test("what would let anybody in is refused, and a file that is something else stays as it was", async () => {
  const folder = await tempFolder();
  const path = join(folder, "pod.yaml");
  await writeFile(path, "kind: Pod\n");
  const cli = testCli(folder);
  expect(await cli.run("issuers", "github-actions", "--audience", "a")).not.toBe(0);
  expect(cli.err()).toContain("This issuer signs for everybody: give repository ids or repository owner ids");
  expect(await cli.run("issuers", ...GITHUB, "-f", path)).not.toBe(0);
  expect(await readFile(path, "utf8")).toBe("kind: Pod\n");
});
