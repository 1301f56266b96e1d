import { createPublicKey } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "node:tls";
import { generateAgentKey, hashEnrollmentCode } from "@cluster-connect/auth";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createMemoryLogger, createMemoryLogSink } from "@cluster-connect/service/testing";
import { selfSigned, temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { createRelayServer } from "../src/http/server.ts";
import { runRelay } from "../src/run.ts";
import { placeInFolder } from "../src/store/open/place.ts";
import { openStore } from "../src/store/store.ts";

const AUTHENTICATION = `
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
  - issuer: { url: https://login.test, audiences: [relay] }
    claimMappings: { username: { claim: sub, prefix: "" } }
`;

async function relay(argv: readonly string[], env: Record<string, string> = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const exitCode = await runRelay(argv, {
    env,
    signals: new EventEmitter(),
    stdout: (line) => void out.push(line),
    stderr: (line) => void err.push(line),
    logs: createMemoryLogSink(),
  });
  return { exitCode, stdout: out.join("\n"), stderr: err.join("\n") };
}

async function settings(change = ""): Promise<{ readonly folder: string; readonly file: string }> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "authentication.yaml"), AUTHENTICATION);
  const file = join(folder, "relay.yaml");
  await writeFile(
    file,
    `publicUrl: http://127.0.0.1:8443\ndataDir: ${folder}/data\nauthenticationConfig: ${folder}/authentication.yaml\n${change}`,
  );
  return { folder, file };
}

test("enroll prints the code alone on stdout, and stores only its hash", async () => {
  const { folder, file } = await settings();
  const { exitCode, stdout, stderr } = await relay(["enroll", "--cluster", "prod", "--config", file]);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^cc1-[0-9a-z-]+$/);
  expect(stderr).toContain("prod");
  const store = await openStore(placeInFolder(join(folder, "data")), new Date());
  const rows = await store.db.selectFrom("enrollment_codes").selectAll().execute();
  await store.close();
  expect(rows).toMatchObject([{ code_hash: hashEnrollmentCode(stdout), cluster_id: "prod", used_at: null }]);
  expect(JSON.stringify(rows)).not.toContain(stdout);
});

test("enroll and clusters speak JSON when asked", async () => {
  const { folder } = await settings();
  const where = ["--data-dir", join(folder, "data"), "-o", "json"];
  const enrolled = await relay(["enroll", "--cluster", "prod", "--expires", "2h", ...where]);
  expect(JSON.parse(enrolled.stdout)).toEqual({
    code: expect.stringMatching(/^cc1-/),
    clusterId: "prod",
    maxUses: 1,
    expiresAt: expect.stringMatching(/Z$/),
  });
  expect(enrolled.stderr).toBe("");
  const listed = await relay(["clusters", ...where]);
  expect(JSON.parse(listed.stdout)).toEqual({ clusters: [{ id: "prod", lastSeenAt: null, keys: [] }] });
  const table = await relay(["clusters", "--data-dir", join(folder, "data")]);
  expect(table.stdout).toBe("CLUSTER   LAST SEEN   KEY\nprod      never       none");
});

test("a cluster is added before its agent, and with a key of the agent's own", async () => {
  const { folder } = await settings();
  const where = ["--data-dir", join(folder, "data")];
  const key = generateAgentKey();
  const publicKeyFile = join(folder, "agent.pub");
  await writeFile(publicKeyFile, createPublicKey(key.privateKeyPem).export({ type: "spki", format: "pem" }));
  await expect(relay(["add-cluster", "--cluster", "early", ...where])).resolves.toMatchObject({ exitCode: 0 });
  const added = await relay(["add-cluster", "--cluster", "prod", "--public-key", publicKeyFile, ...where]);
  expect(added).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(key.keyId) });
  const listed = await relay(["clusters", ...where, "-o", "json"]);
  expect(JSON.parse(listed.stdout)).toEqual({
    clusters: [
      { id: "early", lastSeenAt: null, keys: [] },
      { id: "prod", lastSeenAt: null, keys: [key.keyId] },
    ],
  });
  const elsewhere = await relay(["add-cluster", "--cluster", "early", "--public-key", publicKeyFile, ...where]);
  expect(elsewhere).toMatchObject({ exitCode: 51, stderr: expect.stringContaining("another cluster") });
  await writeFile(publicKeyFile, key.privateKeyPem);
  const secret = await relay(["add-cluster", "--cluster", "prod", "--public-key", publicKeyFile, ...where]);
  expect(secret).toMatchObject({ exitCode: 62, stderr: expect.stringContaining("private key") });
  await writeFile(publicKeyFile, "no key");
  const none = await relay(["add-cluster", "--cluster", "prod", "--public-key", publicKeyFile, ...where]);
  expect(none).toMatchObject({ exitCode: 62, stderr: expect.stringContaining("openssl pkey -in") });
});

test("revoking a key that is not there says so", async () => {
  const { folder } = await settings();
  const where = ["--data-dir", join(folder, "data")];
  await relay(["add-cluster", "--cluster", "prod", ...where]);
  const result = await relay(["revoke", "--key", "key-0000001", ...where]);
  expect(result).toMatchObject({ exitCode: 67, stderr: expect.stringContaining("No valid key") });
});

test("a cluster is removed with what belongs to it, once", async () => {
  const { folder } = await settings();
  const where = ["--data-dir", join(folder, "data")];
  await relay(["enroll", "--cluster", "prod", ...where]);
  const { stdout } = await relay(["remove-cluster", "--cluster", "prod", ...where]);
  expect(stdout).toContain("Cluster prod is removed, with its keys (0) and codes (1)");
  expect((await relay(["clusters", ...where])).stdout).not.toContain("prod");
  const again = await relay(["remove-cluster", "--cluster", "prod", ...where]);
  expect(again).toMatchObject({ exitCode: 4, stderr: expect.stringContaining("There is no cluster prod") });
});

test("every command with the store speaks JSON when asked", async () => {
  const { folder } = await settings();
  const where = ["--data-dir", join(folder, "data"), "-o", "json"];
  const { keyId, privateKeyPem } = generateAgentKey();
  const publicKeyFile = join(folder, "agent.pub");
  await writeFile(publicKeyFile, createPublicKey(privateKeyPem).export({ type: "spki", format: "pem" }));
  const json = async (...argv: readonly string[]): Promise<unknown> =>
    JSON.parse((await relay([...argv, ...where])).stdout);
  expect(await json("add-cluster", "--cluster", "early")).toEqual({ clusterId: "early", keyId: null });
  const added = await json("add-cluster", "--cluster", "prod", "--public-key", publicKeyFile);
  expect(added).toEqual({ clusterId: "prod", keyId });
  const revoked = { keyId, clusterId: "prod", was: "active", dropped: [], left: [] };
  expect(await json("revoke", "--key", keyId)).toEqual(revoked);
  expect(await json("remove-cluster", "--cluster", "prod")).toEqual({ clusterId: "prod", keys: 1, codes: 0 });
  const head = expect.stringMatching(/^5:[0-9a-f]{64}$/);
  expect(await json("audit", "verify")).toEqual({ entries: 5, head, begun: null, removed: null, sealed: null });
});

test.each([
  [["clusters"]],
  [["remove-cluster", "--cluster", "prod"]],
  [["revoke", "--key", "key-0000001"]],
  [["audit", "verify"]],
])("%j finds no store in a misspelt folder, and makes none", async (argv) => {
  const { folder } = await settings();
  const result = await relay([...argv, "--data-dir", join(folder, "dta")]);
  expect(result).toMatchObject({ exitCode: 61, stdout: "" });
  expect(result.stderr).toContain(`error: There is no store ${join(folder, "dta", "relay.db")} (CC_FILE_MISSING)`);
  expect(existsSync(join(folder, "dta"))).toBe(false);
});

test.each([
  [["--confg", "x"], 2, "--confg"],
  [["--config", "/nowhere/relay.yaml"], 61, "/nowhere/relay.yaml does not exist"],
  [["serve"], 60, "publicUrl"],
  [["enroll", "--cluster", "Prod"], 66, "A cluster id"],
])("%j ends with exit code %i and one line that names the problem", async (argv, exitCode, text) => {
  const result = await relay(argv);
  expect(result.exitCode).toBe(exitCode);
  expect(result.stderr).toMatch(/^error: [^\n]+\nhint: [^\n]+$/);
  expect(result.stderr).toContain(text);
});

test("check-config looks into the files that the settings name", async () => {
  const good = await settings();
  await expect(relay(["--check-config", "--config", good.file])).resolves.toMatchObject({ exitCode: 0 });
  await writeFile(join(good.folder, "authentication.yaml"), "kind: Nothing");
  await expect(relay(["--check-config", "--config", good.file])).resolves.toMatchObject({ exitCode: 60 });
  const noCertificate = await settings("tls: { certFile: /nowhere/tls.crt, keyFile: /nowhere/tls.key }\n");
  await expect(relay(["--check-config", "--config", noCertificate.file])).resolves.toMatchObject({
    exitCode: 61,
    stderr: expect.stringContaining("tls.certFile: /nowhere/tls.crt"),
  });
});

test("help and version go to stdout", async () => {
  expect((await relay(["--help"])).stdout).toContain("cluster-connect-relay enroll --cluster ID");
  expect((await relay(["--version"])).stdout).toMatch(/^cluster-connect-relay\/\d/);
});

test("a renewed certificate is served without a restart, and a broken one is not", async () => {
  const folder = await temporaryFolder();
  const tls = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
  const write = async ({ cert, key }: { readonly cert: string; readonly key: string }) => {
    await writeFile(tls.certFile, cert);
    await writeFile(tls.keyFile, key);
  };
  const [first, second] = [await selfSigned(), await selfSigned()];
  await write(first);
  const log = createMemoryLogger();
  const { server, watch } = await createRelayServer({ tls }, { log, clock: SYSTEM_CLOCK });
  const stop = new AbortController();
  const watching = watch({ intervalMs: 5, signal: stop.signal });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    stop.abort();
    await watching;
    server.close();
  });
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const served = async (ca: string): Promise<boolean> => {
    const socket = connect({ port, host: "127.0.0.1", ca });
    const trusted = await once(socket, "secureConnect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    return trusted;
  };
  expect(await served(first.cert)).toBe(true);
  await write({ cert: second.cert, key: first.key });
  await log.once("tls.kept");
  expect(await served(first.cert)).toBe(true);
  await write(second);
  await log.once("tls.reloaded");
  expect(await served(second.cert)).toBe(true);
  expect(await served(first.cert)).toBe(false);
});
