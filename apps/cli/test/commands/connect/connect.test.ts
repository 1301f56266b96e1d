import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { parseClusterId } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { parseAuthorities } from "../../../src/cluster/authorities.ts";
import { openKnownClusters } from "../../../src/cluster/known-clusters.ts";
import { signedAuthorities } from "../../../src/fleet/authority-signature.ts";
import { foldersOf } from "../../../src/settings/folders.ts";
import { createAuthority } from "../../support/certificates.ts";
import { type TestCli, testCli } from "../../support/cli.ts";
import { unsignedToken } from "../../support/tokens.ts";

/** kubectl and helm that answer as a cluster does in which nothing is installed yet. */
const KUBECTL = `
import { readFileSync } from "node:fs";
const [verb, what] = process.argv.slice(2);
const say = (value) => console.log(JSON.stringify(value));
if (verb === "version") say({ serverVersion: { gitVersion: "v1.36.3", minor: "36" } });
else if (what === "configmap") say({ metadata: { creationTimestamp: new Date().toISOString() } });
else if (verb === "create") {
  const { items } = JSON.parse(readFileSync(0, "utf8"));
  say({ items: items.map((item) => ({ ...item, status: { allowed: true } })) });
} else if (what === "secret") say({ data: { "authority.pem": process.env.TEST_AUTHORITY } });
else say({ items: [] });`;
const HELM = `
import { readFileSync, writeFileSync } from "node:fs";
const [verb] = process.argv.slice(2);
if (verb === "version") console.log("v4.1.0");
else if (verb === "status") { console.error("Error: release: not found"); process.exitCode = 1; }
else if (verb === "upgrade") { writeFileSync(process.env.TEST_VALUES, readFileSync(0, "utf8")); console.log("installed"); }
else console.log("{}");`;

const SIGNED = z.object({ authoritySignatures: z.string() });

let folder: string;
let authority: string;
let answer: string;
let login: unknown;
let patched: { readonly status: number; readonly body: unknown };
const asked: { method: string; path: string; body: unknown }[] = [];

beforeEach(async () => {
  folder = await temporaryFolder();
  authority = (await createAuthority()).pem;
  answer = "";
  login = null;
  patched = { status: 200, body: { id: "prod" } };
  asked.length = 0;
  for (const [name, script] of Object.entries({ kubectl: KUBECTL, helm: HELM })) {
    await writeFile(join(folder, `${name}.mjs`), script);
    await writeFile(join(folder, name), `#!/bin/sh\nexec ${process.execPath} ${join(folder, name)}.mjs "$@"\n`);
    await chmod(join(folder, name), 0o755);
  }
  const jwt = [{ issuer: { url: "https://id.example.com", audiences: ["prod"] } }];
  await writeFile(join(folder, "authentication.yaml"), JSON.stringify({ jwt }));
});

/** A relay to which the caller is an administrator. */
async function startAdminRelay(): Promise<string> {
  const server = createServer(async (request, response) => {
    const { method = "", url: path = "" } = request;
    const sent = await text(request);
    asked.push({ method, path, body: sent === "" ? undefined : JSON.parse(sent) });
    const bodies: Readonly<Record<string, { readonly status: number; readonly body: unknown }>> = {
      "GET /.well-known/cluster-connect": { status: 200, body: { relayId: "r", software: "test", login } },
      "GET /v1/clusters": { status: 200, body: { clusters: [] } },
      "GET /v1/admin/clusters/prod": { status: 200, body: { status: "Connected", reason: null } },
      "POST /v1/admin/codes": { status: 200, body: { code: `cc1-${"a".repeat(43)}` } },
      "PATCH /v1/admin/clusters/prod": patched,
    };
    const { status, body } = bodies[`${method} ${path}`] ?? { status: 404, body: {} };
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}

async function connect(...flags: readonly string[]): Promise<{ cli: TestCli; code: number; values: unknown }> {
  const env = {
    PATH: `${folder}:${process.env["PATH"]}`,
    CLUSTER_CONNECT_RELAY: await startAdminRelay(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken({ aud: "relay" }),
    TEST_AUTHORITY: Buffer.from(authority).toString("base64"),
    TEST_VALUES: join(folder, "values.json"),
  };
  const cli = testCli(folder, { env, deps: { ask: async () => answer } });
  const file = join(folder, "authentication.yaml");
  const code = await cli.run(
    "connect",
    "-n",
    "prod",
    "--authentication",
    file,
    "--code",
    `cc1-${"a".repeat(43)}`,
    ...flags,
  );
  return { cli, code, values: JSON.parse(await readFile(join(folder, "values.json"), "utf8").catch(() => "null")) };
}

async function fleetKey(): Promise<{
  readonly file: string;
  readonly publicKey: ReturnType<typeof generateKeyPairSync>["publicKey"];
}> {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const file = join(folder, "fleet-key.pem");
  await writeFile(file, privateKey.export({ format: "pem", type: "pkcs8" }), { mode: 0o600 });
  return { file, publicKey };
}

test("the step fingerprint shows the cluster's own authority, and trusts it here", async () => {
  const { cli, code } = await connect();
  expect([code, cli.err()]).toEqual([0, ""]);
  const [fingerprint = ""] = parseAuthorities(authority, "test").fingerprints;
  expect(cli.out()).toMatch(/^ok {4}fingerprint /m);
  expect(cli.out()).toContain(`SHA-256 ${fingerprint}; callers give --cluster-fingerprint prod=…`);
  const [known] = await openKnownClusters(foldersOf(cli.deps)).all();
  expect(known).toMatchObject({ cluster: "prod", fingerprints: [fingerprint] });
});

test("the step signature signs with the fleet key, and gives the relay what callers verify", async () => {
  const { file, publicKey } = await fleetKey();
  const { cli, code } = await connect("--fleet-key-file", file);
  expect([code, cli.err()]).toEqual([0, ""]);
  expect(cli.out()).toMatch(/^ok {4}signature +the fleet key has signed the authority/m);
  const { authoritySignatures } = SIGNED.parse(asked.find(({ method }) => method === "PATCH")?.body);
  const { keys } = parseAuthorities(authority, "test");
  expect([...signedAuthorities(authoritySignatures, publicKey, parseClusterId("prod"), keys)]).toEqual(keys);
});

test("a signature that the relay does not take is shown, with the command for its administrator", async () => {
  patched = { status: 403, body: { code: "CC_ADMIN_REQUIRED", message: "no administrator" } };
  const { cli, code } = await connect("--fleet-key-file", (await fleetKey()).file);
  expect(code).toBe(0);
  expect(cli.out()).toMatch(/^warn {2}signature +signed, but the relay did not take it: .*no administrator/m);
  expect(cli.out()).toMatch(/cluster-connect clusters sign -n prod --signature '[\w-]{86}'/);
});

test("the step impersonation narrows by flags and by answers, and says what stays open", async () => {
  const narrowed = await connect("--impersonate-user", "jane", "--impersonate-group", "team");
  expect(narrowed.values).toMatchObject({ rbac: { users: ["jane"], groups: ["team"] } });
  expect(narrowed.cli.out()).toMatch(/^ok {4}impersonation +as jane, and with team alone$/m);
  answer = "team";
  const asked = await connect();
  expect(asked.values).toMatchObject({ rbac: { users: ["team"], groups: ["team"] } });
  answer = "";
  const open = await connect();
  expect(open.values).not.toHaveProperty("rbac");
  expect(open.cli.out()).toMatch(/^warn {2}impersonation +as any user, and with any group, .*cluster-admin$/m);
  // Values of the person's own say it already.
  const own = await connect("--set", "rbac.groups={team}");
  expect(own.cli.out()).not.toContain("impersonation");
});

/** Settings of a relay whose clusters take tokens for this audience. */
const loginFor = (cluster: string): unknown => ({
  issuer: "https://id.example.com",
  clientId: "cli",
  scopes: ["openid"],
  resourceParameter: "resource",
  audiences: { relay: "https://relay.test", cluster },
});

async function believe(audience: string): Promise<void> {
  const jwt = [{ issuer: { url: "https://id.example.com", audiences: [audience] } }];
  await writeFile(join(folder, "authentication.yaml"), JSON.stringify({ jwt }));
}

test("the step audience says whether the cluster's tokens count there alone", async () => {
  login = loginFor("https://k8s.test/{cluster}");
  await believe("https://k8s.test/{cluster}");
  const own = await connect();
  expect(own.cli.out()).toMatch(/^ok {4}audience +tokens for https:\/\/k8s.test\/prod count at this cluster alone$/m);
  expect(own.values).toMatchObject({
    authentication: { jwt: [{ issuer: { audiences: ["https://k8s.test/{cluster}"] } }] },
  });
  login = loginFor("prod");
  await believe("prod");
  expect((await connect()).cli.out()).toMatch(/^ok {4}audience +tokens for prod count at every cluster of this relay/m);
  await believe("other");
  expect((await connect()).cli.out()).toMatch(
    /^warn {2}audience +no issuer of --authentication takes tokens for prod$/m,
  );
});

test("another cluster's audience is refused before anything is made or installed", async () => {
  login = loginFor("https://k8s.test/{cluster}");
  await believe("https://k8s.test/staging");
  const { cli, code, values } = await connect();
  expect([code, values]).toEqual([60, null]);
  expect(cli.out()).toMatch(
    /^FAIL {2}audience +The audience https:\/\/k8s.test\/staging is the one of the cluster staging$/m,
  );
  expect(cli.out()).toContain("Write https://k8s.test/{cluster} in --authentication");
  expect(asked.every(({ method }) => method === "GET")).toBe(true);
});
