/** Makes a cluster with kind and removes it again. Ends with 69 and one line where this machine cannot run one. */
import { mkdtemp } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import { startKeeper } from "../../process/keeper.ts";
import { createProgress } from "../../process/progress.ts";
import { findTools } from "../binaries/tools.ts";
import { startKindCluster } from "./kind-cluster.ts";

const UNAVAILABLE = 69;

const { env, platform, arch, pid } = process;
const options = { signal: new AbortController().signal };
const progress = createProgress(process.stderr, { now: () => performance.now() });
await using keeper = await startKeeper();
const folder = await mkdtemp(join(tmpdir(), "cc-kind-"));
keeper.ownFolder(folder);
try {
  const tools = await findTools(options, { env, platform, arch, progress });
  const deps = { tools, env, progress, pid, hostname: hostname(), arch };
  await using _cluster = await progress.during("a first cluster by kind", () =>
    startKindCluster({ ...options, folder: join(folder, "kind") }, deps),
  );
} catch (error) {
  if (!(error instanceof ConnectError)) throw error;
  process.stderr.write(`no kind on this machine: ${error.message} (${error.code})\n`);
  process.exitCode = UNAVAILABLE;
}
