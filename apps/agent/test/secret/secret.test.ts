import { once } from "node:events";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { selfSigned, temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { readPodAccount } from "../../src/secret/account.ts";
import { folderToSecret, KEPT_FILES, secretToFolder } from "../../src/secret/files.ts";

const TOKEN = "account-token";
const NAME = "identity";
const PATH = `/api/v1/namespaces/connect/secrets/${NAME}`;
const signal = AbortSignal.timeout(30_000);

interface Recorded {
  readonly method: string;
  readonly body: string;
}

/** An apiserver that knows one Secret, and the files that a pod has to reach it. */
async function startApiserver(
  data: Record<string, string>,
  refuse?: { readonly status: number; readonly message: string },
) {
  const tls = await selfSigned();
  const requests: Recorded[] = [];
  const server = createServer(tls, async (request, response) => {
    const body = await text(request);
    requests.push({ method: request.method ?? "", body });
    const allowed = request.headers.authorization === `Bearer ${TOKEN}` && request.url === PATH && refuse === undefined;
    if (allowed && request.method === "PATCH") Object.assign(data, JSON.parse(body).data);
    response.writeHead(allowed ? 200 : (refuse?.status ?? 404), { "content-type": "application/json" });
    const answer = allowed ? { metadata: { resourceVersion: "1" }, data } : { message: refuse?.message ?? "not found" };
    response.end(JSON.stringify(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  const folder = await temporaryFolder();
  await writeFile(join(folder, "ca.crt"), tls.cert);
  await writeFile(join(folder, "token"), `${TOKEN}\n`);
  await writeFile(join(folder, "namespace"), "connect");
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const env = { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: String(port) };
  return { account: await readPodAccount(env, folder), requests, data };
}

const base64 = (content: string): string => Buffer.from(content).toString("base64");

test("what the Secret holds of the cluster's identity is written to the folder, for its user only", async () => {
  const { account } = await startApiserver({ "agent-key.pem": base64("key"), other: base64("not ours") });
  const folder = join(await temporaryFolder(), "state");
  expect(await secretToFolder({ secret: NAME, folder }, account, { signal })).toEqual(["agent-key.pem"]);
  expect(await readdir(folder)).toEqual(["agent-key.pem"]);
  expect(await readFile(join(folder, "agent-key.pem"), "utf8")).toBe("key");
  expect((await stat(join(folder, "agent-key.pem"))).mode & 0o777).toBe(0o600);
});

test("the folder's files go into the Secret in one request, and those that it has already are not sent", async () => {
  const { account, requests, data } = await startApiserver({ "authority.pem": base64("authority.pem") });
  const folder = await temporaryFolder();
  for (const name of KEPT_FILES) await writeFile(join(folder, name), name);
  const place = { secret: NAME, folder };
  expect(await folderToSecret(place, account, { signal })).toEqual(["agent-key.pem", "enrolled.json"]);
  expect(data["agent-key.pem"]).toBe(base64("agent-key.pem"));
  expect(await folderToSecret(place, account, { signal })).toEqual([]);
  expect(requests.map(({ method }) => method)).toEqual(["GET", "PATCH", "GET"]);
});

test("the authority goes to a folder of its own and comes back from there", async () => {
  const kept = Object.fromEntries(KEPT_FILES.map((name) => [name, base64(name)]));
  const { account, requests, data } = await startApiserver({ ...kept });
  const [folder, authorityFolder] = [join(await temporaryFolder(), "a"), join(await temporaryFolder(), "b")];
  const place = { secret: NAME, folder, authorityFolder };
  expect(await secretToFolder(place, account, { signal })).toEqual([...KEPT_FILES]);
  expect((await readdir(folder)).toSorted()).toEqual(["agent-key.pem", "enrolled.json"]);
  expect(await readdir(authorityFolder)).toEqual(["authority.pem"]);
  await writeFile(join(authorityFolder, "authority.pem"), "renewed");
  expect(await folderToSecret(place, account, { signal })).toEqual(["authority.pem"]);
  expect(data).toEqual({ ...kept, "authority.pem": base64("renewed") });
  expect(requests.map(({ method }) => method)).toEqual(["GET", "GET", "PATCH"]);
});

test("a Secret that holds nothing yet leaves both folders empty, for what is made in them", async () => {
  const { account } = await startApiserver({});
  const [folder, authorityFolder] = [join(await temporaryFolder(), "a"), join(await temporaryFolder(), "b")];
  expect(await secretToFolder({ secret: NAME, folder, authorityFolder }, account, { signal })).toEqual([]);
  for (const path of [folder, authorityFolder]) {
    expect(await readdir(path)).toEqual([]);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  }
});

test("a folder that lacks a file changes nothing", async () => {
  const { account, requests } = await startApiserver({});
  const folder = await temporaryFolder();
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "agent-key.pem"), "key");
  const failed = folderToSecret({ secret: NAME, folder }, account, { signal });
  await expect(failed).rejects.toMatchObject({ code: "CC_FILE_MISSING" });
  expect(requests.map(({ method }) => method)).toEqual(["GET"]);
});

test("an account that may not is told what Kubernetes says, without its token", async () => {
  const { account } = await startApiserver({}, { status: 403, message: "secrets is forbidden" });
  const failed = secretToFolder({ secret: NAME, folder: await temporaryFolder() }, account, { signal });
  await expect(failed).rejects.toMatchObject({
    code: "CC_PERMISSION_MISSING",
    message: `Secret ${NAME}: secrets is forbidden`,
  });
});

test("outside a pod it says so", async () => {
  await expect(readPodAccount({})).rejects.toMatchObject({ code: "CC_CONFIG_INVALID" });
});
