import { open } from "node:fs/promises";
import { join } from "node:path";
import { findExecutable, isExecutable } from "../binaries/find-executable.ts";

/** The facts of this machine that decide whether a node can run here. */
export interface NodeHost {
  readonly platform: NodeJS.Platform;
  /** 0 for root; undefined where there are no user ids. */
  readonly uid: number | undefined;
}

/** Folders of the programs of a node; the person's own `PATH` does not count. */
export const NODE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Where Debian's package puts the network plug-ins. */
export const CNI_FOLDER = "/usr/lib/cni";

/** Where to look for programs and plug-ins. */
export interface NodePlaces {
  readonly path: string;
  readonly cni: string;
}

const PLACES: NodePlaces = { path: NODE_PATH, cni: CNI_FOLDER };

/** The Debian package of each program. */
const PACKAGES: Readonly<Record<string, string>> = {
  busybox: "busybox-static",
  containerd: "containerd",
  "containerd-shim-runc-v2": "containerd",
  ctr: "containerd",
  ip: "iproute2",
  iptables: "iptables",
  mount: "mount",
  nsenter: "util-linux",
  runc: "runc",
  setpriv: "util-linux",
  unshare: "util-linux",
};

const PLUGINS: readonly string[] = ["bridge", "host-local", "loopback", "portmap"];

/** A dynamic program names its loader near its beginning. */
const LOADER = "/ld-";
const HEADER_BYTES = 4_096;

/** busybox, if it runs without any library, so that an image needs nothing else. */
export async function findStaticBusybox(places: NodePlaces = PLACES): Promise<string | undefined> {
  const path = await findExecutable("busybox", { PATH: places.path });
  if (path === undefined) return undefined;
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return buffer.subarray(0, bytesRead).includes(LOADER) ? undefined : path;
  } finally {
    await file.close();
  }
}

async function missingPackages(places: NodePlaces): Promise<readonly string[]> {
  const missing = new Set<string>();
  for (const [name, debian] of Object.entries(PACKAGES)) {
    if ((await findExecutable(name, { PATH: places.path })) === undefined) missing.add(debian);
  }
  if ((await findStaticBusybox(places)) === undefined) missing.add("busybox-static");
  for (const plugin of PLUGINS) {
    if (!(await isExecutable(join(places.cni, plugin)))) missing.add("containernetworking-plugins");
  }
  return [...missing].sort();
}

/**
 * Why no node can run on this machine and what to do about it, a phrase each; empty when one can.
 *
 * Nothing is installed by us: the machine is the person's.
 */
export async function nodePrerequisites(host: NodeHost, places: NodePlaces = PLACES): Promise<readonly string[]> {
  if (host.platform !== "linux") return ["a node needs Linux"];
  const packages = await missingPackages(places);
  const reasons: string[] = [];
  if (host.uid !== 0) reasons.push("a node needs root, for namespaces and control groups: run this as root");
  if (packages.length > 0) reasons.push(`run: apt-get install --no-install-recommends ${packages.join(" ")}`);
  return reasons;
}
