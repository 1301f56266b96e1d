import { fork } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseClusterId } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { entryName, type KubeconfigEntry } from "../../src/kubeconfig/entry.ts";
import { changeKubeconfig, checkKubeconfig } from "../../src/kubeconfig/file.ts";

const WRITER = fileURLToPath(new URL("../support/kubeconfig-writer.ts", import.meta.url));
const { signal } = new AbortController();
const OTHERS = `apiVersion: v1
clusters:
- cluster:
    server: https://10.0.0.1:6443
  name: office
contexts:
- context:
    cluster: office
    user: jane
  name: office
current-context: office
kind: Config
users:
- name: jane
  user:
    token: secret # of mine
`;

const entry: KubeconfigEntry = {
  name: entryName(new URL("https://relay.test"), parseClusterId("prod")),
  context: "prod",
  port: 1,
  serverName: "prod.test",
  authorities: "authority\n",
  credential: { command: "/usr/bin/cluster-connect", args: ["credential"] },
};

const add = async (path: string): Promise<void> =>
  await changeKubeconfig(path, { signal, waitMs: 2_000 }, (document) => document.add([entry]));

test("a new file and its folder are readable by this user only, and no lock is left", async () => {
  const folder = join(await temporaryFolder(), ".kube");
  await add(join(folder, "config"));
  expect(await readdir(folder)).toEqual(["config"]);
  expect((await stat(join(folder, "config"))).mode & 0o777).toBe(0o600);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
});

test("a change goes through links and leaves them", async () => {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "real"));
  await writeFile(join(folder, "real/config"), OTHERS);
  await symlink("real/config", join(folder, "middle"));
  await symlink("middle", join(folder, "config"));
  await add(join(folder, "config"));
  expect(await readlink(join(folder, "config"))).toBe("middle");
  expect(await readFile(join(folder, "real/config"), "utf8")).toContain("cluster-connect/relay.test/prod");
});

test("a link that leads nowhere is named and left", async () => {
  const path = join(await temporaryFolder(), "config");
  await symlink("/nowhere/at/all", path);
  await expect(add(path)).rejects.toMatchObject({ code: "CC_FILE_UNREADABLE", message: expect.stringContaining(path) });
  expect(await readlink(path)).toBe("/nowhere/at/all");
});

test("nothing is written when nothing was changed", async () => {
  const path = join(await temporaryFolder(), "config");
  await writeFile(path, "clusters:    []   # odd\n");
  const before = await stat(path);
  await changeKubeconfig(path, { signal }, (document) => document.remove([entry.name], "office"));
  expect(await stat(path)).toMatchObject({ mtimeMs: before.mtimeMs, ino: before.ino });
});

test("a file that is not a kubeconfig is left as it was", async () => {
  const path = join(await temporaryFolder(), "config");
  await writeFile(path, "clusters: [");
  await expect(add(path)).rejects.toMatchObject({ code: "CC_KUBECONFIG_INVALID" });
  await expect(checkKubeconfig(path)).rejects.toMatchObject({ code: "CC_KUBECONFIG_INVALID" });
  expect(await readFile(path, "utf8")).toBe("clusters: [");
});

test("a file that may not be read is named with the reason", async () => {
  const folder = join(await temporaryFolder(), "config");
  await mkdir(folder);
  await expect(add(folder)).rejects.toMatchObject({
    code: "CC_FILE_UNREADABLE",
    message: `${folder} cannot be read: it is a folder`,
  });
});

test("kubectl's lock is waited for, then named with what to do", async () => {
  const path = join(await temporaryFolder(), "config");
  await writeFile(`${path}.lock`, "");
  await chmod(`${path}.lock`, 0);
  await expect(changeKubeconfig(path, { signal, waitMs: 50 }, () => undefined)).rejects.toMatchObject({
    code: "CC_KUBECONFIG_LOCKED",
    message: expect.stringContaining(`${path} is locked by another program`),
    hint: expect.stringContaining(`remove ${path}.lock`),
  });
});

test("a process that is killed at any moment leaves the others' entries whole and the file usable", async () => {
  const folder = await temporaryFolder();
  const path = join(folder, "config");
  await writeFile(path, OTHERS);
  for (let round = 0; round < 12; round++) {
    const writer = fork(WRITER, [path], { execArgv: ["--conditions=source"] });
    onTestFinished(() => void writer.kill("SIGKILL"));
    await once(writer, "message");
    // The moment of the kill is what varies here; nothing is waited for.
    await delay(Math.random() * 30);
    writer.kill("SIGKILL");
    await once(writer, "exit");
    const value = parse(await readFile(path, "utf8"));
    expect(value.users[0]).toEqual({ name: "jane", user: { token: "secret" } });
    expect(value.clusters[0].name).toBe("office");
    await changeKubeconfig(path, { signal, waitMs: 5_000 }, (document) => {
      document.add([entry]);
      document.remove([entry.name], "office");
    });
    expect(await readFile(path, "utf8")).toBe(OTHERS);
    expect(await readdir(folder)).toEqual(["config"]);
  }
});
