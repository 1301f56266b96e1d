import { execFile } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { findHome, type HomeDeps } from "../../src/settings/home.ts";
import { MAIN } from "../support/cli.ts";
import { startProgram } from "../support/program.ts";
import { startRelay } from "../support/relay.ts";
import { unsignedToken } from "../support/tokens.ts";

const uid = process.getuid?.();
const noPasswd = (): never => {
  throw Object.assign(new Error("uv_os_homedir returned ENOENT"), { code: "ERR_SYSTEM_ERROR" });
};

async function deps(homedir: () => string): Promise<HomeDeps & { readonly folder: string }> {
  const folder = await temporaryFolder();
  return { homedir, tmpdir: () => folder, uid, folder };
}

test("the home folder is used where there is one, also before it is made", async () => {
  const home = await temporaryFolder();
  expect(findHome(await deps(() => home))).toEqual({ path: home, isStandIn: false });
  expect(findHome(await deps(() => join(home, "new")))).toEqual({ path: join(home, "new"), isStandIn: false });
});

test.each<readonly [string, () => string]>([
  ["without an entry in passwd", noPasswd],
  ["whose home is empty", () => ""],
  ["whose home is relative", () => "home"],
  ["whose home is below a file", () => "/dev/null/home"],
])("a user %s gets a folder of their own among the temporary ones, the same each time", async (_, homedir) => {
  const given = await deps(homedir);
  const found = findHome(given);
  expect(found).toEqual({ path: join(given.folder, `cluster-connect-home-${uid}`), isStandIn: true });
  expect(findHome(given)).toEqual(found);
});

test("a folder of that name that others could write to is not trusted", async () => {
  const given = await deps(noPasswd);
  const path = join(given.folder, `cluster-connect-home-${uid}`);
  await mkdir(path);
  await chmod(path, 0o777);
  expect(findHome(given).path).not.toBe(path);
  const file = await deps(noPasswd);
  await writeFile(join(file.folder, `cluster-connect-home-${uid}`), "");
  expect(findHome(file).path).toMatch(/cluster-connect-home-\w+-/);
});

test("what keeps nothing runs where nothing can be written, and what would keep something names the folder", async () => {
  const nowhere = "/proc/cluster-connect-nowhere";
  expect(findHome({ ...(await deps(noPasswd)), tmpdir: () => nowhere })).toEqual({
    path: expect.stringContaining(`${nowhere}/cluster-connect-home-`),
    isStandIn: true,
  });
  const env = { HOME: nowhere, TMPDIR: nowhere };
  for (const argv of [["--version"], ["--help"], ["exit-codes"]]) {
    expect(await startProgram(env, ...argv).ended).toMatchObject({ code: 0, err: "" });
  }
  const relay = await startRelay();
  const { code, err } = await startProgram({ ...env, CLUSTER_CONNECT_RELAY: relay.url }, "login", "--device-code")
    .ended;
  expect(code).not.toBe(0);
  expect(err).not.toContain("    at ");
});

test.runIf(uid === 0)(
  "a user whom the system does not know runs what needs no home, and `run` with given tokens",
  async () => {
    const folder = await temporaryFolder();
    await chmod(folder, 0o777);
    const relay = await startRelay();
    await relay.addCluster("prod");
    const env = {
      PATH: process.env["PATH"],
      TMPDIR: folder,
      CLUSTER_CONNECT_RELAY: relay.url,
      CLUSTER_CONNECT_TOKEN: unsignedToken(),
      CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
      ...relay.trusted(),
    };
    const asStranger = async (more: Readonly<Record<string, string>>, ...argv: readonly string[]): Promise<string> => {
      const words = ["--reuid", "12345", "--clear-groups", process.execPath, "--conditions=source", MAIN, ...argv];
      return (await promisify(execFile)("setpriv", words, { env: { ...env, ...more } })).stderr;
    };
    expect(await asStranger({}, "--help")).toBe("");
    for (const home of [{}, { HOME: "/" }, { HOME: "" }]) {
      const err = await asStranger(home, "run", "-n", "prod", "--", "true");
      expect(err).toContain(`what is remembered goes to ${join(folder, "cluster-connect-home-12345")}: set HOME`);
    }
  },
);

test("without a home there is no kubeconfig of kubectl's, and what to do is said", async () => {
  const relay = await startRelay();
  const env = {
    HOME: "",
    TMPDIR: await temporaryFolder(),
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: "a",
  };
  const { code, err } = await startProgram(env, "proxy", "-n", "prod").ended;
  expect(code).toBe(2);
  expect(err).toContain("There is no home folder, so kubectl has no kubeconfig of its own (CC_USAGE)");
  expect(err).toContain("hint: Set HOME, set KUBECONFIG, or name a file with -f FILE.");
});

test("a variable for temporary files that is set to nothing is not set", async () => {
  const [home, relay] = [await temporaryFolder(), await startRelay()];
  await relay.addCluster("prod");
  const env = {
    HOME: home,
    TMPDIR: "",
    CLUSTER_CONNECT_CA_FILE: "",
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
    ...relay.trusted(),
  };
  expect(await startProgram(env, "run", "-n", "prod", "--", "true").ended).toMatchObject({ code: 0 });
});
