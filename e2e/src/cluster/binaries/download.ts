import { createHash } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { Progress } from "../../process/progress.ts";
import { runToEnd } from "../../process/run-to-end.ts";
import { ENVTEST_SHA512, ENVTEST_VERSION } from "./versions.ts";

/** Dependencies of the download. */
export interface DownloadDeps {
  readonly env: NodeJS.ProcessEnv;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  readonly fetch: typeof fetch;
  readonly progress: Progress;
  /** Replaces the pinned checksums in tests. */
  readonly checksums?: Readonly<Record<string, string>>;
}

const RELEASES = "https://github.com/kubernetes-sigs/controller-tools/releases/download";
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

async function fetchArchive(url: string, signal: AbortSignal, deps: DownloadDeps): Promise<Buffer> {
  try {
    const response = await deps.fetch(url, { signal });
    if (!response.ok) throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${url} answers ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    if (error instanceof ConnectError || signal.aborted) throw error;
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${url} cannot be fetched`, { cause: error });
  }
}

/**
 * Puts etcd and kube-apiserver of the pinned envtest archive into `folder`.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` on another platform, no network, or a checksum that differs.
 */
export async function downloadAssets(
  folder: string,
  options: { readonly signal: AbortSignal },
  deps: DownloadDeps,
): Promise<void> {
  const platform = `${deps.platform}-${ARCHITECTURES[deps.arch] ?? deps.arch}`;
  const expected = (deps.checksums ?? ENVTEST_SHA512)[platform];
  if (expected === undefined) {
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `there is no envtest archive for ${platform}`);
  }
  const file = `envtest-v${ENVTEST_VERSION}-${platform}.tar.gz`;
  const url = `${RELEASES}/envtest-v${ENVTEST_VERSION}/${file}`;
  const text = `Kubernetes ${ENVTEST_VERSION}: fetching ${file}`;
  const archive = await deps.progress.during(text, () => fetchArchive(url, options.signal, deps));
  if (createHash("sha512").update(archive).digest("hex") !== expected) {
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${file} has another SHA-512 than the pinned one`);
  }
  const path = join(folder, file);
  await writeFile(path, archive);
  const result = await runToEnd("tar", ["-xzf", file], { cwd: folder, env: deps.env, signal: options.signal });
  if (result.code !== 0) throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `${file} cannot be unpacked`);
  const unpacked = join(folder, "controller-tools", "envtest");
  for (const name of ["etcd", "kube-apiserver"]) await rename(join(unpacked, name), join(folder, name));
  await rm(join(folder, "controller-tools"), { recursive: true, force: true });
  await rm(path);
}
