import { readFile } from "node:fs/promises";
import { ERRORS } from "@cluster-connect/protocol";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { createProgram } from "../src/program/program.ts";
import { createInterrupts } from "../src/terminal/interrupts.ts";
import { VERSION } from "../src/version.ts";
import { testCli } from "./support/cli.ts";

const COMMANDS = [
  "login",
  "logout",
  "clusters",
  "clusters trust",
  "clusters sign",
  "fleet-key",
  "fleet-key create",
  "fleet-key revoke",
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
  "connect",
  "upgrade",
  "disconnect",
  "disable",
  "enable",
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

test("every command that does something has examples", () => {
  const names: string[] = [];
  const collect = (command: Command, path: readonly string[]): void => {
    const visible = command
      .createHelp()
      .visibleCommands(command)
      .filter((one) => one.name() !== "help");
    for (const one of visible) collect(one, [...path, one.name()]);
    if (visible.length > 0 || command.name() === "relay") return;
    const parts: string[] = [];
    command.configureOutput({ writeOut: (part) => parts.push(part) }).outputHelp();
    if (!parts.join("").includes("Examples:\n")) names.push(path.join(" "));
  };
  const { deps } = testCli("/nowhere");
  const { signal } = new AbortController();
  const interrupts = createInterrupts(deps.signals, () => {});
  collect(createProgram([], { deps, signal, interrupts }, { exitCode: 0 }), []);
  interrupts.dispose();
  expect(names).toEqual([]);
});

test("help exit-codes is a page with every code", async () => {
  const cli = testCli("/nowhere");
  expect(await cli.run("help", "exit-codes")).toBe(0);
  for (const code of Object.keys(ERRORS)) expect(cli.out()).toContain(`  ${code}`);
  const listed = testCli("/nowhere");
  expect(await listed.run("exit-codes", "-o", "json")).toBe(0);
  expect(JSON.parse(listed.out()).exitCodes).toContainEqual({
    exit: 3,
    code: "CC_AGENT_OFFLINE",
    retry: true,
    hint: ERRORS.CC_AGENT_OFFLINE.hint,
  });
});

test("help takes a command of a group", async () => {
  const asked = testCli("/nowhere");
  expect(await asked.run("help", "kubeconfig", "add")).toBe(0);
  const flag = testCli("/nowhere");
  expect(await flag.run("kubeconfig", "add", "--help")).toBe(0);
  expect(asked.out()).toBe(flag.out());
});

test("the version is the package's", async () => {
  const text = await readFile(new URL("../package.json", import.meta.url), "utf8");
  expect(JSON.parse(text).version).toBe(VERSION);
  const cli = testCli("/nowhere");
  expect(await cli.run("--version")).toBe(0);
  expect(await cli.run("version")).toBe(0);
  expect(cli.out()).toBe(`${VERSION}\n${VERSION}\n`);
  const json = testCli("/nowhere");
  expect(await json.run("version", "-o", "json")).toBe(0);
  expect(JSON.parse(json.out())).toMatchObject({ version: VERSION, node: process.versions.node });
});
