import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { parse } from "yaml";
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
