import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type Assets, assetsDeps, findAssets } from "../../src/cluster/binaries/assets.ts";
import { findTools, type Tools } from "../../src/cluster/binaries/tools.ts";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { startControlPlane } from "../../src/cluster/control-plane/control-plane.ts";
import { freePort } from "../../src/process/free-port.ts";
import { type Keeper, startKeeper } from "../../src/process/keeper.ts";
import { createProgress } from "../../src/process/progress.ts";
import { runToEnd } from "../../src/process/run-to-end.ts";
import { notLocal } from "../support/provider.ts";

const signal = new AbortController().signal;
let keeper: Keeper;
let assets: Assets;
let tools: Tools;
let cluster: Cluster;
let folder: string;

beforeEach(({ skip }) => skip(notLocal !== undefined, notLocal));

beforeAll(async () => {
  if (notLocal !== undefined) return;
  keeper = await startKeeper();
  folder = await mkdtemp(join(tmpdir(), "cluster-connect-e2e-"));
  keeper.ownFolder(folder);
  const progress = createProgress(process.stderr, { now: () => performance.now() });
  const { env, platform, arch } = process;
  assets = await findAssets({ signal }, assetsDeps({ signal }, { env, progress, keeper }));
  tools = await findTools({ signal }, { env, platform, arch, progress });
  // The first port the control plane is given is taken, so its first attempt fails.
  const taken = createServer();
  taken.listen(0, "127.0.0.1");
  await once(taken, "listening");
  const address = taken.address();
  const ports = [typeof address === "object" && address !== null ? address.port : 0];
  const choose = async (): Promise<number> => ports.shift() ?? freePort();
  cluster = await startControlPlane(
    { folder: join(folder, "cluster"), signal },
    { keeper, assets, now: () => new Date(), freePort: choose },
  );
  taken.close();
});

afterAll(() => keeper?.stop());

async function kubectl(...args: readonly string[]): Promise<string> {
  const env = { PATH: process.env["PATH"], HOME: folder, KUBECONFIG: cluster.kubeconfigPath };
  const result = await runToEnd(tools.kubectl, args, { env, signal });
  expect(result.stderr).toBe("");
  expect(result.code).toBe(0);
  return result.stdout;
}

test("the administrator's kubeconfig works, after a port that was taken", async () => {
  expect(cluster.kubeconfigPath).toContain("control-plane-2");
  expect(JSON.parse(await kubectl("auth", "whoami", "-o", "json"))).toMatchObject({
    status: { userInfo: { username: "kubernetes-admin", groups: expect.arrayContaining(["system:masters"]) } },
  });
});

test("the audit log shows a request with the identity that was impersonated", async () => {
  await kubectl("auth", "whoami", "--as=someone", "--as-group=a,b");
  for await (const event of cluster.auditEvents({ signal: AbortSignal.timeout(60_000) })) {
    if (event.impersonatedUsername !== "someone") continue;
    expect(event).toMatchObject({ username: "kubernetes-admin", impersonatedGroups: ["a,b", "system:authenticated"] });
    break;
  }
});

test("a new namespace gets its ServiceAccount, and a token for it is signed", async ({ skip }) => {
  if (!cluster.features.controllers) skip("no kube-controller-manager");
  await kubectl("create", "namespace", "fresh");
  await kubectl("wait", "--for=create", "serviceaccount/default", "-n", "fresh", "--timeout=30s");
  expect((await kubectl("create", "token", "default", "-n", "fresh")).split(".")).toHaveLength(3);
});
