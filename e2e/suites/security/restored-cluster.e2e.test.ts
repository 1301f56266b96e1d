import { cp } from "node:fs/promises";
import { join } from "node:path";
import { ERRORS } from "@cluster-connect/protocol";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { assetsDeps, findAssets } from "../../src/cluster/binaries/assets.ts";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { startControlPlane } from "../../src/cluster/control-plane/control-plane.ts";
import { startDaemon } from "../../src/process/daemon.ts";
import type { Program } from "../../src/process/keeper.ts";
import { type LogEvent, readLogEvents, waitForLogEvent, waitForLogText } from "../../src/process/log-events.ts";
import { createProgress } from "../../src/process/progress.ts";
import { grantAccess } from "../../src/stack/access.ts";
import { copyAgentState } from "../../src/stack/agent.ts";
import { startAuthProxy } from "../../src/stack/auth-proxy.ts";
import { adminKubectl } from "../../src/stack/kubectl.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";
import { notLocal } from "../support/provider.ts";
import { NO_END, type Person, useStack } from "../support/stack.ts";

/** A backup of our namespace was restored into a second cluster, with the agent's key and the cluster's authority. */
const suite = useStack();
let copy: Cluster | undefined;
let copyAgent: Program;
let viewer: Person;
let admin: Person;
/** Open before there is a copy. */
let watch: Program;
let ownUid: string;
let copyUid: string;

const UID = ["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"];
/** Each time on a new connection. */
const TIMES = 10;
const REFUSED_WITHIN_MS = 60_000;

beforeEach(({ skip }) => skip(notLocal !== undefined, notLocal));

beforeAll(async () => {
  if (notLocal !== undefined) return;
  viewer = await suite().signIn("viewer");
  admin = await suite().signIn("admin");
  ownUid = await suite().stack.kubectlAsAdmin(UID);
  watch = await startWatch();
  copy = await startSecondCluster();
  await copyInstallation(copy);
});

afterAll(() => copy?.stop());

/** Nothing but what answers requests: no controllers. */
async function startSecondCluster(): Promise<Cluster> {
  const { keeper, folder } = suite();
  const progress = createProgress(process.stderr, { now: () => performance.now() });
  const found = await findAssets({ signal: NO_END }, assetsDeps({ signal: NO_END }, { ...process, progress, keeper }));
  const assets = { ...found, controllerManager: undefined, scheduler: undefined };
  const own = { folder: join(folder, "second"), signal: NO_END };
  return await startControlPlane(own, { keeper, assets, now: () => new Date() });
}

/** The auth proxy and the agent with copies of their files, in front of the second cluster. */
async function copyInstallation(cluster: Cluster): Promise<void> {
  const { keeper, folder, tools, stack } = suite();
  const at = (name: string): string => join(folder, name);
  const options = { folder: at("second-cache"), signal: () => NO_END };
  const kubectl = adminKubectl(cluster, options, { tools, env: process.env });
  copyUid = await kubectl(UID);
  const tokenFile = at("second-token");
  await grantAccess(tokenFile, { kubectl });
  await cp(at("auth-proxy/state"), at("p2/state"), { recursive: true });
  const apiserver = { url: cluster.apiserverUrl, caPem: cluster.caPem, tokenFile };
  const from = { clusterId: stack.clusterId, issuerUrl: stack.issuer.url, apiserver };
  const authProxy = await startAuthProxy({ folder: at("p2"), signal: NO_END, ...from }, { keeper });
  await copyAgentState(at("agent/state"), at("a2/state"));
  const config = {
    relay: { urls: [stack.relay.url], caFile: stack.relay.caFile },
    stateDir: at("a2/state"),
    authProxy: { address: authProxy.socket, healthUrl: authProxy.healthUrl, authoritiesFile: authProxy.caFile },
    drainSeconds: 1,
  };
  const spec = { name: "agent", main: repositoryFile("apps/agent/src/main.ts"), folder: at("a2"), config };
  const signal = AbortSignal.timeout(REFUSED_WITHIN_MS);
  copyAgent = (await startDaemon({ ...spec, readyEvent: "tunnel.closed" }, { signal }, { keeper })).program;
}

async function startWatch(): Promise<Program> {
  const { keeper, folder, tools } = suite();
  const env = { ...admin.cli.env, KUBECONFIG: admin.proxy.kubeconfigPath };
  const args = ["get", "configmaps", "-A", "-w"];
  const own = { name: "watch", command: tools.kubectl, args, env, cwd: folder, logPath: join(folder, "watch.log") };
  const program = await keeper.start(own);
  await waitForLogText(program, /extension-apiserver-authentication/, { signal: NO_END });
  return program;
}

/** The clusters that answer, each time on a connection of its own. */
async function answering(): Promise<ReadonlySet<string>> {
  const uids = new Set<string>();
  for (let time = 0; time < TIMES; time += 1) {
    const done = await admin.run("kubectl", UID);
    uids.add(done.code === 0 ? done.stdout : done.stderr);
  }
  return uids;
}

const decide = (person: Person, verb: string, uid: string) =>
  person.cli.run(["admin", "clusters", verb, suite().stack.clusterId, "--uid", uid]);

const closedAsDuplicate = ({ event, code }: LogEvent): boolean =>
  event === "tunnel.closed" && code === "CC_CLUSTER_DUPLICATE";

/** Changes which cluster has the name; resolves when one agent was sent away and the other has a tunnel. */
async function accept(uid: string, taken: Program | undefined, left: Program | undefined): Promise<void> {
  const [takenSince, leftSince] = await Promise.all([followLog(taken), followLog(left)]);
  expect(await decide(admin, "accept", uid)).toMatchObject({ code: 0 });
  await expect.poll(async () => (await leftSince()).some(closedAsDuplicate)).toBe(true);
  await expect.poll(async () => (await takenSince()).some(({ event }) => event === "tunnel.open")).toBe(true);
}

/** Reads the events that an agent logs from now on. */
async function followLog(agent: Program | undefined): Promise<() => Promise<readonly LogEvent[]>> {
  if (agent === undefined) throw new Error("the agent does not run");
  const { length } = await readLogEvents(agent.logPath);
  return async () => (await readLogEvents(agent.logPath)).slice(length);
}

test("the copy is refused, with the reason; every request goes to the first, and its open watch stays", async () => {
  const refused = await waitForLogEvent(copyAgent, ({ event }) => event === "tunnel.closed", { signal: NO_END });
  expect(refused).toMatchObject({ code: "CC_CLUSTER_DUPLICATE", hint: expect.stringContaining("a name and") });
  expect(copyUid).not.toBe(ownUid);
  expect(await answering()).toEqual(new Set([ownUid]));
  await suite().stack.kubectlAsAdmin(["create", "configmap", "made-beside-a-copy", "-n", "default"]);
  await waitForLogText(watch, /made-beside-a-copy/, { signal: NO_END });
  expect((await readLogEvents(copyAgent.logPath)).map(({ event }) => event)).not.toContain("tunnel.open");
});

test("callers hear of the copy in what they look at, and administrators with the command that decides", async () => {
  const { clusterId } = suite().stack;
  const command = `cluster-connect admin clusters accept ${clusterId} --uid ${copyUid}`;
  for (const format of ["table", "json", "yaml", "name"]) {
    expect((await viewer.cli.run(["clusters", "-o", format])).stderr).toContain(command);
  }
  const run = await viewer.cli.run(["run", "-n", clusterId, "--", "true"]);
  expect(run).toMatchObject({ code: 0, stderr: expect.stringContaining(command) });
  const doctor = await viewer.cli.run(["doctor", "-n", clusterId, "--idle-seconds", "0"]);
  expect(doctor.stdout).toContain(copyUid);
  const shown = await admin.cli.run(["admin", "clusters", "show", clusterId]);
  expect(shown.stdout).toContain(`uid         ${ownUid}`);
  expect(shown.stdout).toContain(`duplicate   ${copyUid}, refused since `);
  expect(shown.stdout).toContain(command);
});

test("a refused copy stays refused, and callers hear no more of it", async () => {
  expect(await decide(viewer, "refuse", copyUid)).toMatchObject({ code: ERRORS.CC_ADMIN_REQUIRED.exit });
  expect(await decide(admin, "refuse", copyUid)).toMatchObject({ code: 0 });
  expect((await viewer.cli.run(["clusters"])).stderr).not.toContain(copyUid);
  expect(await answering()).toEqual(new Set([ownUid]));
});

test("an accepted copy gets every request from then on, and nothing of the first goes on", async () => {
  await accept(copyUid, copyAgent, suite().stack.agent.program);
  expect(await answering()).toEqual(new Set([copyUid]));
  await watch.ended;
});

test("the first gets its name back by the same command", async () => {
  await accept(ownUid, suite().stack.agent.program, copyAgent);
  expect(await answering()).toEqual(new Set([ownUid]));
});
