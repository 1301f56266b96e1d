import { execFileSync } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ERRORS } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { testCli } from "../support/cli.ts";

/** Bash's offers after these words, with a program on PATH that knows two clusters. */
async function bashOffers(...words: readonly string[]): Promise<string> {
  const cli = testCli("/nowhere");
  expect(await cli.run("completion", "bash")).toBe(0);
  const folder = await temporaryFolder();
  await writeFile(join(folder, "completion.bash"), cli.out());
  await writeFile(join(folder, "cluster-connect"), "#!/bin/sh\necho prod\necho test\n");
  await chmod(join(folder, "cluster-connect"), 0o755);
  const script = `
    source "$1/completion.bash"; shift
    COMP_WORDS=(cluster-connect "$@"); COMP_CWORD=$#; _cluster_connect; echo "\${COMPREPLY[*]}"`;
  const env = { PATH: `${folder}:${process.env["PATH"]}` };
  return execFileSync("bash", ["-c", script, "bash", folder, ...words], { env, encoding: "utf8" }).trim();
}

test("bash completes commands, subcommands, flags, choices and clusters", async () => {
  expect(await bashOffers("pr")).toBe("proxy");
  expect(await bashOffers("clusters", "t")).toBe("trust");
  expect(await bashOffers("clusters", "trust", "--f")).toBe("--fingerprint");
  expect(await bashOffers("clusters", "--output", "")).toBe("table json yaml name");
  expect(await bashOffers("proxy", "-n", "")).toBe("prod test");
  expect(await bashOffers("run", "--name", "t")).toBe("test");
  expect(await bashOffers("completion", "f")).toBe("fish");
});

test("hidden flags are not offered", async () => {
  expect(await bashOffers("proxy", "--token")).toBe("--token-file");
  expect(await bashOffers("proxy", "--log")).toBe("");
});

test.each(["zsh", "fish", "powershell"])("the script for %s knows every command", async (shell) => {
  const cli = testCli("/nowhere");
  expect(await cli.run("completion", shell)).toBe(0);
  for (const name of ["login", "clusters", "trust", "proxy", "run", "doctor", "--kube-context"]) {
    expect(cli.out()).toContain(name.replace(/^--/, ""));
  }
});

test("another shell is told which there are", async () => {
  const cli = testCli("/nowhere");
  expect(await cli.run("completion", "tcsh")).toBe(2);
  expect(cli.err()).toContain("Allowed choices are bash, zsh, fish, powershell.");
});

test("every exit code is listed with its error and what to do", async () => {
  const cli = testCli("/nowhere");
  expect(await cli.run("exit-codes")).toBe(0);
  for (const [code, { exit, hint }] of Object.entries(ERRORS)) {
    expect(cli.out()).toMatch(new RegExp(`^${exit} +${code} +(yes|no) +`, "m"));
    expect(cli.out()).toContain(hint);
  }
});
