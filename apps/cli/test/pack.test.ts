import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { VERSION } from "../src/version.ts";
import { startRelay } from "./support/relay.ts";
import { tempFolder } from "./support/temp-folder.ts";
import { unsignedToken } from "./support/tokens.ts";

const run = promisify(execFile);
const PACK = fileURLToPath(new URL("../scripts/pack.ts", import.meta.url));

test("the packed program works without any package beside it, and its kubeconfig starts it again", async () => {
  const folder = await tempFolder();
  const home = await tempFolder();
  await run(process.execPath, [PACK, folder]);
  const relay = await startRelay();
  await relay.addCluster("prod");
  const main = join(folder, "cluster-connect.mjs");
  await writeFile(join(home, "token"), unsignedToken());
  const env = { PATH: process.env["PATH"], HOME: home, TMPDIR: home };
  const flags = ["--relay", relay.url, "--token-file", join(home, "token"), "--relay-token-file", join(home, "token")];
  const copy = ["sh", "-c", `cp "$KUBECONFIG" "${join(home, "seen")}"`];
  await run(process.execPath, [main, "run", "-n", "prod", ...flags, "--", ...copy], { env });
  const { exec } = parse(await readFile(join(home, "seen"), "utf8")).users[0].user;
  expect(exec.command).toBe(process.execPath);
  expect(exec.args).toEqual([main, "credential", "--relay", relay.url, "--token-file", join(home, "token")]);
  const { stdout } = await run(exec.command, exec.args, { env });
  expect(JSON.parse(stdout).kind).toBe("ExecCredential");
});

test("the package installs from its file into an empty folder, and runs there under both names", async () => {
  const [built, packed, place] = [await tempFolder(), await tempFolder(), await tempFolder()];
  await run(process.execPath, [PACK, "--npm", built]);
  // Nothing is asked of a registry: what is optional is left out.
  const npm = ["--offline", "--no-audit", "--no-fund", "--omit=optional", "--cache", join(place, "cache")];
  const { stdout: name } = await run("npm", ["pack", built, "--pack-destination", packed, ...npm]);
  await run("npm", ["install", join(packed, name.trim()), ...npm], { cwd: place });
  const env = { PATH: `${dirname(process.execPath)}:${process.env["PATH"]}`, HOME: place };
  const bin = (command: string): string => join(place, "node_modules", ".bin", command);
  for (const command of ["cluster-connect", "kubectl-cluster_connect"]) {
    expect((await run(bin(command), ["--version"], { env })).stdout).toBe(`${VERSION}\n`);
  }
  const npx = await run("npx", ["--offline", "cluster-connect", "--version"], { cwd: place, env });
  expect(npx.stdout).toBe(`${VERSION}\n`);
});
