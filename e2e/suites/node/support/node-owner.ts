/** Starts the Kubernetes that `E2E_CLUSTER` names and a pod, says where they are, and stays: a test ends it with SIGKILL. */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTools } from "../../../src/cluster/binaries/tools.ts";
import { NODE_IMAGE } from "../../../src/cluster/node/image.ts";
import { provideWithPods } from "../../../src/cluster/provide-with-pods.ts";
import { startKeeper } from "../../../src/process/keeper.ts";
import { SILENT } from "../../../src/process/progress.ts";
import { adminKubectl } from "../../../src/stack/kubectl.ts";

const { env, platform, arch } = process;
const { signal } = new AbortController();
const keeper = await startKeeper();
const folder = await mkdtemp(join(tmpdir(), "cc-e2e-"));
keeper.ownFolder(folder);
const tools = await findTools({ signal }, { env, platform, arch, progress: SILENT });
const host = { platform, arch, uid: process.getuid?.() };
const deps = { keeper, tools, env, host, progress: SILENT, now: () => new Date() };
const cluster = await provideWithPods({ folder, signal }, deps);
const kubectl = adminKubectl(cluster, { folder: join(folder, "cache"), signal: () => signal }, { tools, env });
await kubectl(["run", "pod", `--image=${NODE_IMAGE}`, "--image-pull-policy=Never"]);
await kubectl(["wait", "--for=condition=Ready", "pod/pod", "--timeout=180s"]);
process.send?.({ keeper: keeper.pid, folder, address: new URL(cluster.apiserverUrl).hostname });
process.on("message", () => void cluster.stop().then(() => process.send?.("stopped")));
