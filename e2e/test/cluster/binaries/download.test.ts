import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { type DownloadDeps, downloadAssets } from "../../../src/cluster/binaries/download.ts";
import { ENVTEST_SHA512 } from "../../../src/cluster/binaries/versions.ts";
import { SILENT } from "../../../src/process/progress.ts";

const signal = new AbortController().signal;

async function archive(): Promise<Buffer> {
  const folder = await temporaryFolder();
  const inside = join(folder, "controller-tools", "envtest");
  await mkdir(inside, { recursive: true });
  for (const name of ["etcd", "kube-apiserver", "kubectl"]) await writeFile(join(inside, name), name, { mode: 0o755 });
  execFileSync("tar", ["-czf", "a.tar.gz", "controller-tools"], { cwd: folder });
  return readFile(join(folder, "a.tar.gz"));
}

function answering(bytes: Buffer, changes: Partial<DownloadDeps> = {}): DownloadDeps {
  const checksums = { "linux-amd64": createHash("sha512").update(bytes).digest("hex") };
  const fetch = async (): Promise<Response> => new Response(new Uint8Array(bytes));
  return { env: process.env, platform: "linux", arch: "x64", fetch, progress: SILENT, checksums, ...changes };
}

test("the programs of an archive with the pinned checksum are unpacked, and nothing else is left", async () => {
  const folder = await temporaryFolder();
  await downloadAssets(folder, { signal }, answering(await archive()));
  expect((await readdir(folder)).sort()).toEqual(["etcd", "kube-apiserver"]);
});

test("an archive with another checksum is refused before it is written", async () => {
  const folder = await temporaryFolder();
  const deps = answering(await archive(), { checksums: ENVTEST_SHA512 });
  await expect(downloadAssets(folder, { signal }, deps)).rejects.toThrow("another SHA-512");
  expect(await readdir(folder)).toEqual([]);
});

test("a platform without an archive, a status and a missing network are each named", async () => {
  const folder = await temporaryFolder();
  const run = (changes: Partial<DownloadDeps>): Promise<void> =>
    downloadAssets(folder, { signal }, answering(Buffer.from(""), changes));
  await expect(run({ arch: "riscv64" })).rejects.toThrow("no envtest archive for linux-riscv64");
  await expect(run({ fetch: async () => new Response("", { status: 404 }) })).rejects.toThrow("answers 404");
  await expect(run({ fetch: () => Promise.reject(new TypeError("fetch failed")) })).rejects.toThrow(
    "cannot be fetched",
  );
});

test("every pinned checksum is a SHA-512", () => {
  for (const checksum of Object.values(ENVTEST_SHA512)) expect(checksum).toMatch(/^[0-9a-f]{128}$/);
});
