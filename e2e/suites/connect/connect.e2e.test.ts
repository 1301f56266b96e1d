import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { pollUntil } from "../../src/process/poll.ts";
import { type Person, useStack } from "../support/stack.ts";
import { curlInsecure } from "../support/wire/local-request.ts";

const suite = useStack();
let viewer: Person;
let admin: Person;

beforeAll(async () => {
  viewer = await suite().signIn("viewer");
  admin = await suite().signIn("admin");
});

const KIB = 1_024;
const LARGE_BYTES = 900 * KIB;
const LIST_ITEMS = 60;
const LIST_BYTES = 50_000_000;

/** Text that neither compresses nor repeats. */
const noise = (bytes: number): string => randomBytes(bytes).toString("base64").slice(0, bytes);

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

async function succeed(person: Person, args: readonly string[], input?: string): Promise<string> {
  const done = await person.run("kubectl", args, input);
  expect(done).toMatchObject({ code: 0 });
  return done.stdout;
}

function configMap(name: string, namespace: string, data: Readonly<Record<string, string>>): string {
  return JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data });
}

test("kubectl is the person who signed in, with the prefix and their groups", async () => {
  const review: unknown = JSON.parse(await succeed(viewer, ["auth", "whoami", "-o", "json"]));
  expect(review).toMatchObject({
    kind: "SelfSubjectReview",
    status: { userInfo: { username: "demo:viewer", groups: ["demo:viewers", "system:authenticated"] } },
  });
});

test("kubectl takes the credential plugin in its former version, for clients that know no other", async () => {
  const show =
    "kubectl config view --minify -o jsonpath={.users[0].user.exec.apiVersion}; echo; kubectl auth whoami -o name";
  const args = ["run", "-n", suite().stack.clusterId, "--exec-api-version", "v1beta1", "--", "sh", "-c", show];
  const { code, stdout, stderr } = await viewer.cli.run(args);
  expect([code, stdout], stderr).toEqual([
    0,
    "client.authentication.k8s.io/v1beta1\nselfsubjectreview.authentication.k8s.io/<unknown>\n",
  ]);
});

test("the viewer may not create a namespace, the administrator may", async () => {
  const refused = await viewer.run("kubectl", ["create", "namespace", "made"]);
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toContain('Error from server (Forbidden): namespaces is forbidden: User "demo:viewer"');
  expect(await succeed(admin, ["create", "namespace", "made"])).toBe("namespace/made created\n");
});

test("a watch shows what happens while it runs", async () => {
  const { keeper, tools, folder } = suite();
  const watch = await keeper.start({
    name: "watch",
    command: tools.kubectl,
    args: ["get", "configmaps", "-A", "-w"],
    env: { ...viewer.cli.env, KUBECONFIG: viewer.proxy.kubeconfigPath },
    cwd: folder,
    logPath: join(folder, "watch.log"),
  });
  const shows = (text: string): Promise<boolean> =>
    pollUntil(async () => ((await readFile(watch.logPath, "utf8")).includes(text) ? true : undefined), {
      signal: AbortSignal.timeout(60_000),
    });
  await shows("extension-apiserver-authentication");
  await succeed(admin, ["create", "configmap", "seen-by-the-watch", "-n", "default"]);
  await shows("seen-by-the-watch");
  await watch.stop();
});

test("apply --server-side, diff and explain work", async () => {
  const before = configMap("applied", "default", { key: "before" });
  const after = configMap("applied", "default", { key: "after" });
  expect(await succeed(admin, ["apply", "--server-side", "-f", "-"], before)).toContain("serverside-applied");
  const same = await admin.run("kubectl", ["diff", "--server-side", "-f", "-"], before);
  expect(same).toMatchObject({ code: 0, stdout: "" });
  const other = await admin.run("kubectl", ["diff", "--server-side", "-f", "-"], after);
  expect(other.code).toBe(1);
  expect(other.stdout).toContain("+  key: after");
  expect(await succeed(viewer, ["explain", "configmap.data"])).toContain("Data contains the configuration data");
});

test("helm installs a chart and lists its release", async () => {
  const chart = join(suite().folder, "chart");
  await mkdir(join(chart, "templates"), { recursive: true });
  await writeFile(join(chart, "Chart.yaml"), "apiVersion: v2\nname: one-configmap\nversion: 0.1.0\n");
  await writeFile(join(chart, "templates", "configmap.yaml"), configMap("from-helm", "default", { by: "helm" }));
  expect(await admin.run("helm", ["install", "release", chart, "-n", "default"])).toMatchObject({ code: 0 });
  const listed = await admin.run("helm", ["list", "-n", "default", "-q"]);
  expect(listed).toMatchObject({ code: 0, stdout: "release\n" });
  expect(await succeed(viewer, ["get", "configmap", "from-helm", "-o", "jsonpath={.data.by}"])).toBe("helm");
});

test("a ConfigMap of 900 KiB arrives unchanged", async () => {
  const value = noise(LARGE_BYTES);
  await succeed(admin, ["create", "-f", "-"], configMap("large", "default", { value }));
  const read = await succeed(viewer, ["get", "configmap", "large", "-o", "jsonpath={.data.value}"]);
  expect(sha256(read)).toBe(sha256(value));
});

test("a list answer of over 50 MB is the same through the tunnel and without it", async () => {
  const { kubectlAsAdmin } = suite().stack;
  await kubectlAsAdmin(["create", "namespace", "big"]);
  for (let index = 0; index < LIST_ITEMS; index++) {
    await kubectlAsAdmin(["create", "-f", "-"], configMap(`big-${index}`, "big", { value: noise(LARGE_BYTES) }));
  }
  const path = "/api/v1/namespaces/big/configmaps";
  const first = await kubectlAsAdmin(["get", "--raw", `${path}?limit=1`]);
  const revision = /"resourceVersion":"(\d+)"/.exec(first)?.[1] ?? "";
  const raw = [
    "--disable-compression",
    "get",
    "--raw",
    `${path}?resourceVersion=${revision}&resourceVersionMatch=Exact`,
  ];
  const direct = await kubectlAsAdmin(raw);
  const tunnelled = await succeed(viewer, raw);
  expect(direct.length).toBeGreaterThan(LIST_BYTES);
  expect(sha256(tunnelled)).toBe(sha256(direct));
});

test("curl -k without a server name is asked who it is, and served with a token", async () => {
  const { port } = viewer.proxy;
  const anonymous = await curlInsecure(port, "/version");
  expect(anonymous.status).toBe(401);
  expect(JSON.parse(anonymous.body.toString("utf8"))).toMatchObject({ kind: "Status", code: 401 });
  const known = await curlInsecure(port, "/version", await credential(viewer));
  expect(known.status).toBe(200);
  expect(JSON.parse(known.body.toString("utf8"))).toMatchObject({ major: "1" });
});

async function credential(person: Person): Promise<string> {
  const printed = await person.cli.run(["credential"]);
  const document: unknown = JSON.parse(printed.stdout);
  const status =
    typeof document === "object" && document !== null && "status" in document ? document.status : undefined;
  return typeof status === "object" && status !== null && "token" in status ? String(status.token) : "";
}

test("kubectl -s with --insecure-skip-tls-verify and --token works without a kubeconfig", async () => {
  const { port } = viewer.proxy;
  const token = await credential(viewer);
  const server = ["-s", `https://127.0.0.1:${port}`, "--insecure-skip-tls-verify", "--token", token];
  const done = await viewer.cli.run([
    "run",
    "-n",
    "demo",
    "--",
    "env",
    "KUBECONFIG=/dev/null",
    "kubectl",
    ...server,
    "auth",
    "whoami",
    "-o",
    "name",
  ]);
  expect(done).toMatchObject({ code: 0 });
});

test("run gives the command's output and exit code", async () => {
  const args = ["-n", "demo", "--", "sh", "-c", "kubectl auth whoami -o jsonpath={.status.userInfo.username}; exit 7"];
  expect(await viewer.cli.run(["run", ...args])).toMatchObject({ code: 7, stdout: "demo:viewer" });
});
