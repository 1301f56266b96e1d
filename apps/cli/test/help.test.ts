import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { VERSION } from "../src/version.ts";
import { testCli } from "./support/cli.ts";

const COMMANDS = [
  "login",
  "logout",
  "clusters",
  "clusters trust",
  "proxy",
  "run",
  "doctor",
  "status",
  "stop",
  "logs",
  "wait",
  "credential",
  "completion",
  "kubeconfig",
  "kubeconfig add",
  "kubeconfig remove",
  "kubeconfig list",
  "explain",
  "issuers",
  "issuers entra",
  "issuers github-actions",
  "issuers gitlab",
  "issuers azure-pipelines",
  "issuers oidc",
];

test("help without a command names every command and how to start", async () => {
  const cli = testCli("/nowhere");
  expect(await cli.run()).toBe(0);
  expect(cli.out()).toMatchSnapshot();
});

test.each(COMMANDS)("help of %s", async (command) => {
  const cli = testCli("/nowhere");
  expect(await cli.run(...command.split(" "), "--help")).toBe(0);
  expect(cli.out()).toMatchSnapshot();
  expect(cli.err()).toBe("");
});

test("the version is the package's", async () => {
  const text = await readFile(new URL("../package.json", import.meta.url), "utf8");
  expect(JSON.parse(text).version).toBe(VERSION);
  const cli = testCli("/nowhere");
  expect(await cli.run("--version")).toBe(0);
  expect(cli.out()).toBe(`${VERSION}\n`);
});
