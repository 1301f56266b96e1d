import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseAuthenticationConfiguration } from "@cluster-connect/auth";
import { parseClusterId } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { testCli } from "../../support/cli.ts";

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
  const cli = testCli(await temporaryFolder());
  expect(await cli.run("issuers", ...words)).toBe(0);
  expect(parseAuthenticationConfiguration(cli.out()).issuers.map((issuer) => issuer.url)).toEqual([url]);
});

test("a second issuer is added to the file, whose first stays", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "issuers.yaml");
  const cli = testCli(folder);
  expect(await cli.run("issuers", ...ENTRA, "-f", path)).toBe(0);
  expect(await cli.run("issuers", ...GITHUB, "-f", path)).toBe(0);
  expect(parseAuthenticationConfiguration(await readFile(path, "utf8")).issuers).toHaveLength(2);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(cli.out()).toBe("");
});

test("what would let anybody in is refused, and a file that is something else stays as it was", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "pod.yaml");
  await writeFile(path, "kind: Pod\n");
  const cli = testCli(folder);
  expect(await cli.run("issuers", "github-actions", "--audience", "a")).not.toBe(0);
  expect(cli.err()).toContain("This issuer signs for everybody: give repository ids or repository owner ids");
  expect(await cli.run("issuers", ...GITHUB, "-f", path)).not.toBe(0);
  expect(await readFile(path, "utf8")).toBe("kind: Pod\n");
});

test.each([
  [GITHUB, "{cluster} in --audience gives each its own"],
  [["oidc", "--url", "https://id.example.com", "--audience", "a"], "{cluster} in --audience gives each its own"],
  [ENTRA, "With Entra, have an application, and so a file, for each cluster"],
  [["azure-pipelines", "--organization-id", TENANT, "--subject", "sc://o/p/c"], "Azure Pipelines has one audience"],
])("issuers %j says what a shared audience means, and what to do about it", async (words, remedy) => {
  const cli = testCli(await temporaryFolder());
  expect(await cli.run("issuers", ...words)).toBe(0);
  expect(cli.err()).toContain("note: clusters that take the same audience take the same tokens. ");
  expect(cli.err()).toContain(remedy);
});

test("an audience of each cluster's own needs no such word, and the file has it for each", async () => {
  const cli = testCli(await temporaryFolder());
  const words = ["github-actions", "--audience", "https://k8s.test/{cluster}", "--repository-id", "42"];
  expect([await cli.run("issuers", ...words), cli.err()]).toEqual([0, ""]);
  const { issuers } = parseAuthenticationConfiguration(cli.out(), { clusterId: parseClusterId("prod") });
  expect(issuers.map(({ audiences }) => audiences)).toEqual([["https://k8s.test/prod"]]);
});
