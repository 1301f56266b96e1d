import { execFile, spawnSync } from "node:child_process";
import { readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { VERSION } from "../src/version.ts";
import { testCli } from "./support/cli.ts";
import { startRelay } from "./support/relay.ts";
import { unsignedToken } from "./support/tokens.ts";

const run = promisify(execFile);
const CHART = fileURLToPath(new URL("../../../deploy/charts/cluster-connect-agent", import.meta.url));
const PACK = fileURLToPath(new URL("../scripts/pack.ts", import.meta.url));

test("the packed program works without any package beside it, and its kubeconfig starts it again", async () => {
  const folder = await temporaryFolder();
  const home = await temporaryFolder();
  await run(process.execPath, [PACK, folder]);
  const relay = await startRelay();
  await relay.addCluster("prod");
  const main = join(folder, "cluster-connect.mjs");
  await writeFile(join(home, "token"), unsignedToken({ aud: "cluster" }));
  await writeFile(join(home, "relay-token"), unsignedToken({ aud: "relay" }));
  const env = { PATH: process.env["PATH"], HOME: home, TMPDIR: home, ...relay.trusted() };
  const flags = [
    "--relay",
    relay.url,
    "--token-file",
    join(home, "token"),
    "--relay-token-file",
    join(home, "relay-token"),
  ];
  const copy = ["sh", "-c", `cp "$KUBECONFIG" "${join(home, "seen")}"`];
  await run(process.execPath, [main, "run", "-n", "prod", ...flags, "--", ...copy], { env });
  const { exec } = parse(await readFile(join(home, "seen"), "utf8")).users[0].user;
  // By a name of PATH that stays when Node is upgraded.
  expect(await realpath(exec.command)).toBe(process.execPath);
  expect(exec.args).toEqual([
    main,
    "credential",
    "--relay",
    relay.url,
    "--token-file",
    join(home, "token"),
    "--name",
    "prod",
  ]);
  const { stdout } = await run(exec.command, exec.args, { env });
  expect(JSON.parse(stdout).kind).toBe("ExecCredential");
});

test("the package installs from its file into an empty folder, and runs there under both names", async () => {
  const [built, packed, place] = [await temporaryFolder(), await temporaryFolder(), await temporaryFolder()];
  await run(process.execPath, [PACK, "--npm", built]);
  // Nothing is asked of a registry: optional packages are left out.
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

/** Another Node of this machine than the one that tests run on, where there is one that is too old. */
const OLD_NODE = ["/usr/bin/node", "/usr/local/bin/node"].find((path) => {
  const found = spawnSync(path, ["-p", "process.versions.node"], { encoding: "utf8" });
  return found.status === 0 && Number(found.stdout.split(".")[0]) < 24;
});

/** Each way to pack it, with the command that starts it. */
const PACKS: readonly (readonly [string, readonly string[], (folder: string) => readonly [string, ...string[]]])[] = [
  ["files", [], (folder) => [process.execPath, join(folder, "cluster-connect.mjs")]],
  ["npm package", ["--npm"], (folder) => [process.execPath, join(folder, "cluster-connect.mjs")]],
  ["single executable", ["--binary"], (folder) => [join(folder, "cluster-connect")]],
];

test.each(PACKS)("the packed program writes each format, helps and completes: %s", async (_, flags, startOf) => {
  const [folder, home] = [await temporaryFolder(), await temporaryFolder()];
  await run(process.execPath, [PACK, ...flags, folder]);
  const [command, ...first] = startOf(folder);
  const env = { PATH: process.env["PATH"], HOME: home, TMPDIR: home };
  const program = async (...argv: readonly string[]): Promise<string> =>
    (await run(command, [...first, ...argv], { env })).stdout;
  const list = JSON.parse(await program("exit-codes", "-o", "json"));
  expect(parse(await program("exit-codes", "-o", "yaml"))).toEqual(list);
  expect((await program("exit-codes", "-o", "name")).split("\n")).toContain("CC_USAGE");
  expect(await program("exit-codes", "-o", "table")).toMatch(/^EXIT +CODE/);
  const own = testCli(home);
  for (const shell of ["bash", "zsh", "fish", "powershell"]) {
    const before = own.out().length;
    await own.run("completion", shell);
    expect(await program("completion", shell)).toBe(own.out().slice(before));
  }
  for (const words of [["proxy"], ["admin", "grants", "add"], ["kubeconfig", "add"], ["connect"], ["doctor"]]) {
    expect(await program(...words, "--help")).toContain(`Usage: cluster-connect ${words.join(" ")}`);
  }
});

test.each(PACKS)("the packed program brings the whole chart along: %s", async (_, flags, startOf) => {
  const [folder, home] = [await temporaryFolder(), await temporaryFolder()];
  await run(process.execPath, [PACK, ...flags, folder]);
  // Stand-ins for kubectl and helm. This helm keeps the chart that it is to install.
  const helm = '#!/bin/sh\n[ "$1" = upgrade ] && cp -r "$4" "$HOME/seen"\necho \'{"version":1}\'\n';
  for (const [name, script] of [
    ["helm", helm],
    ["kubectl", "#!/bin/sh\necho '{}'\n"],
  ] as const)
    await writeFile(join(home, name), script, { mode: 0o755 });
  const [command, ...first] = startOf(folder);
  const env = { PATH: `${home}:${process.env["PATH"]}`, HOME: home, TMPDIR: home };
  for (const turn of [1, 2]) {
    await run(command, [...first, "upgrade", "--dry-run"], { env });
    const seen = join(home, "seen");
    const names = (await readdir(CHART, { recursive: true })).toSorted();
    expect((await readdir(seen, { recursive: true })).toSorted(), `start ${turn}`).toEqual(names);
    const ofBoth = names.filter((name) => name.includes(".")).map((name) => [join(CHART, name), join(seen, name)]);
    for (const [own = "", given = ""] of ofBoth)
      expect(await readFile(given, "utf8")).toBe(await readFile(own, "utf8"));
    await rm(seen, { recursive: true });
  }
});

test("the package's manifest names only what there is, and its README leads nowhere that is not there", async () => {
  const folder = await temporaryFolder();
  await run(process.execPath, [PACK, "--npm", folder]);
  const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  for (const version of Object.values(manifest.optionalDependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  expect(manifest.engines).toEqual({ node: ">=24.18.1" });
  expect(await readFile(join(folder, "README.md"), "utf8")).not.toMatch(/\]\((?!https?:|#)/);
});

test.runIf(OLD_NODE !== undefined)(
  "an old Node is told which one is needed, before anything else can fail",
  async () => {
    const [folder, home] = [await temporaryFolder(), await temporaryFolder()];
    await run(process.execPath, [PACK, folder]);
    for (const more of [{}, { HTTPS_PROXY: "http://user:100%sure@127.0.0.1:1" }, { HOME: "/dev/null/home" }]) {
      const { status, stdout, stderr } = spawnSync(OLD_NODE ?? "", [join(folder, "cluster-connect.mjs"), "--version"], {
        encoding: "utf8",
        env: { HOME: home, ...more },
      });
      expect([status, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(
        /^error: cluster-connect needs Node 24\.18\.1 or newer, and this is Node \d+\.\d+\.\d+\nhint: /,
      );
    }
  },
);
