import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { ConnectError } from "@cluster-connect/protocol";
import { runToEnd } from "../../process/run-to-end.ts";
import { findStaticBusybox, NODE_PATH } from "./prerequisites.ts";
import { packTar, type TarEntry } from "./tar.ts";

/** The one image that a node has: a shell and its commands, which does nothing until it is told to end. */
export const NODE_IMAGE = "cluster-connect.test/busybox:1";

/** The first process of a container: reaps what others leave, and ends when asked. */
const WAIT = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done";
const ARCHITECTURES: Readonly<Partial<Record<NodeJS.Architecture, string>>> = { x64: "amd64", arm64: "arm64" };

const text = (content: string): Uint8Array => Buffer.from(content);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

function rootFilesystem(busybox: Uint8Array, commands: readonly string[]): Buffer {
  const entries: TarEntry[] = [
    { kind: "folder", path: "bin/" },
    { kind: "folder", path: "etc/" },
    { kind: "folder", path: "root/" },
    { kind: "folder", path: "tmp/", mode: 0o1777 },
    { kind: "file", path: "bin/busybox", content: busybox, mode: 0o755 },
    { kind: "file", path: "etc/passwd", content: text("root:x:0:0:root:/root:/bin/sh\n") },
    { kind: "file", path: "etc/group", content: text("root:x:0:\n") },
    ...commands.map((name): TarEntry => ({ kind: "link", path: `bin/${name}`, to: "busybox" })),
  ];
  return packTar(entries);
}

/** An archive as `docker save` writes it: one layer, its configuration, and a manifest that names both. */
function savedImage(layer: Buffer, architecture: string): Buffer {
  const digest = sha256(layer);
  const config = text(
    JSON.stringify({
      architecture,
      os: "linux",
      created: "1970-01-01T00:00:00Z",
      config: { Env: ["PATH=/bin"], Cmd: ["/bin/sh", "-c", WAIT], WorkingDir: "/root" },
      rootfs: { type: "layers", diff_ids: [`sha256:${digest}`] },
    }),
  );
  const configPath = `${sha256(config)}.json`;
  const layerPath = `${digest.slice(0, 64)}/layer.tar`;
  const manifest = [{ Config: configPath, RepoTags: [NODE_IMAGE], Layers: [layerPath] }];
  return packTar([
    { kind: "file", path: configPath, content: config },
    { kind: "file", path: layerPath, content: layer },
    { kind: "file", path: "manifest.json", content: text(JSON.stringify(manifest)) },
  ]);
}

/**
 * Writes {@link NODE_IMAGE} as an archive that containerd imports.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` when there is no static busybox, or no name for the processor.
 */
export async function writeNodeImage(
  path: string,
  options: { readonly signal: AbortSignal },
  deps: { readonly arch: NodeJS.Architecture },
): Promise<void> {
  const busybox = await findStaticBusybox();
  const architecture = ARCHITECTURES[deps.arch];
  if (busybox === undefined || architecture === undefined) {
    throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", "No image for pods: busybox-static is missing");
  }
  const listed = await runToEnd(busybox, ["--list"], { env: { PATH: NODE_PATH }, signal: options.signal });
  const commands = listed.stdout.split("\n").filter((name) => name !== "" && name !== "busybox");
  await writeFile(path, savedImage(rootFilesystem(await readFile(busybox), commands), architecture));
}
