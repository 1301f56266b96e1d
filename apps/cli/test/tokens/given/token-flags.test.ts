import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { readGivenText } from "../../../src/tokens/given/given-token.ts";
import { findGivenTokens } from "../../../src/tokens/given/token-flags.ts";
import { testCli } from "../../support/cli.ts";
import { unsignedToken } from "../../support/tokens.ts";

test.runIf(process.platform !== "win32")("a pipe, as of <(command), is read once and its token kept", async () => {
  const folder = await temporaryFolder();
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  const token = unsignedToken();
  const written = writeFile(pipe, `${token}\n`);
  const { cluster } = await findGivenTokens({ tokenFile: pipe }, testCli(folder).deps);
  await written;
  if (cluster === undefined) throw new Error("no token");
  for (let times = 0; times < 2; times++) expect(await readGivenText(cluster)).toBe(token);
});

test("a file is read each time, as it may be renewed", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "token");
  await writeFile(path, unsignedToken());
  const { relay } = await findGivenTokens({ relayTokenFile: path }, testCli(folder).deps);
  expect(relay).toEqual({ kind: "file", path });
});
