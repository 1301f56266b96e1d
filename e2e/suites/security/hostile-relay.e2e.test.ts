import { X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ErrorCode } from "@cluster-connect/protocol";
import { ERRORS } from "@cluster-connect/protocol";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { type Keeper, startKeeper } from "../../src/process/keeper.ts";
import type { RunResult } from "../../src/process/run-to-end.ts";
import { type Cli, createCli } from "../../src/stack/cli.ts";
import { CLUSTER_AUDIENCE, type Issuer, RELAY_AUDIENCE, startIssuer } from "../../src/stack/issuer.ts";
import { startFakeCiService } from "../support/pipelines/ci-service.ts";
import { azureSteps, githubSteps, runStep, type ShellStep } from "../support/pipelines/ci-steps.ts";
import { startFakeTokenExchange } from "../support/pipelines/token-exchange.ts";
import {
  type LyingRelay,
  listed,
  type RecordingCluster,
  serverNameOf,
  startLyingRelay,
  startRecordingCluster,
} from "../support/relays/lying-relay.ts";
import { NO_END } from "../support/stack.ts";

/** No kube-apiserver: what must not happen does not happen before one would be asked. */
let keeper: Keeper;
let folder: string;
let issuer: Issuer;
let relay: LyingRelay;
let prod: RecordingCluster;
let staging: RecordingCluster;
let people = 0;

const FOREIGN = ["https://management.azure.com", "api://AzureADTokenExchange", "sts.amazonaws.com", CLUSTER_AUDIENCE];
/** Sets the title, clears the screen, colours by a C1 control, turns text round, begins lines of its own. */
const ESCAPES = "x\u001b]0;pwned\u0007\u001b[2J\u009b31m\u202e\u2028\r\nok    everything";
const SERVICES = { github: githubSteps, azure: azureSteps };
const FILES = {
  github: "integrations/github-action/action.yml",
  azure: "integrations/azure-pipelines/cluster-connect.yml",
};

beforeAll(async () => {
  keeper = await startKeeper();
  folder = await mkdtemp(join(tmpdir(), "cc-lies-"));
  await mkdir(join(folder, "issuer"));
  issuer = await startIssuer({ folder: join(folder, "issuer"), signal: NO_END }, { keeper });
  [prod, staging] = await Promise.all([startRecordingCluster("prod"), startRecordingCluster("staging")]);
});
afterAll(async () => {
  prod.close();
  staging.close();
  await keeper[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  relay = await startLyingRelay();
  onTestFinished(() => relay.close());
  say({});
  relay.answers.set("/v1/clusters", { clusters: [listed(prod), listed(staging)] });
  for (const cluster of [prod, staging]) relay.routes.set(cluster.id, cluster);
});

type Settings = Readonly<Record<string, unknown>>;

/** The relay's words about signing in: the truth, but for the given lies. */
function say(lies: Settings, audiences: Settings = {}): void {
  const login = {
    issuer: issuer.url,
    clientId: "cli",
    scopes: ["openid"],
    resourceParameter: "resource",
    audiences: { relay: relay.url, cluster: `${relay.url}/clusters`, ...audiences },
    ...lies,
  };
  relay.answers.set("/.well-known/cluster-connect", { relayId: "relay-1", software: "lying/0", login });
}

const fingerprintOf = ({ id, caPem }: RecordingCluster): string => `${id}=${new X509Certificate(caPem).fingerprint256}`;

/** A person or job on a fresh machine, without a terminal. */
async function cli(env: Readonly<Record<string, string>> = {}): Promise<Cli> {
  people += 1;
  const own = { CLUSTER_CONNECT_RELAY: relay.url, CLUSTER_CONNECT_RELAY_AUDIENCE: "", ...env };
  const options = { folder: join(folder, `cli-${people}`), relay: { url: relay.url, caFile: undefined }, env: own };
  return await createCli({ ...options, path: "/usr/bin:/bin", signal: NO_END }, { keeper });
}

async function tokens(): Promise<Readonly<Record<string, string>>> {
  const exp = Math.floor(Date.now() / 1_000) + 3_600;
  const sign = (aud: string): Promise<string> => issuer.sign({ iss: issuer.url, aud, sub: "jane", exp });
  return { CLUSTER_CONNECT_RELAY_TOKEN: await sign(relay.url), CLUSTER_CONNECT_TOKEN: await sign(CLUSTER_AUDIENCE) };
}

function expectRefused(done: RunResult, code: ErrorCode): void {
  expect({ code: done.code, err: done.stderr }).toMatchObject({
    code: ERRORS[code].exit,
    err: expect.stringContaining(code),
  });
}

/** The build service's step that connects, with the inputs that a job gives. */
async function connectStep(
  kind: "github" | "azure",
  inputs: Readonly<Record<string, string>>,
): Promise<{ readonly done: RunResult; readonly made: readonly string[] }> {
  const service = await startFakeCiService(kind, issuer);
  onTestFinished(() => service.close());
  people += 1;
  const own = join(folder, `job-${people}`);
  await mkdir(own);
  const { command } = await cli();
  const program = join(own, "program");
  const [node, ...args] = command.filter((word) => !word.endsWith(".mjs"));
  const main = new URL("../../../apps/cli/src/main.ts", import.meta.url).pathname;
  await writeFile(program, `#!/bin/sh\nexec ${node} ${args.join(" ")} ${main} "$@"\n`, { mode: 0o755 });
  const { SYSTEM_ACCESSTOKEN: secret = "", ...visible } = service.env;
  const steps: readonly ShellStep[] = await SERVICES[kind](FILES[kind]);
  const step = steps.find(({ name }) => name === "Connect");
  if (step === undefined) throw new Error("there is no step Connect");
  const asked = [
    ...Object.values(step.env)
      .join(" ")
      .matchAll(/\$\{\{\s*((?:inputs|parameters)\.[\w-]+)/g),
  ];
  const values = {
    ...Object.fromEntries(asked.map(([, name = ""]) => [name, ""])),
    ...Object.fromEntries(
      Object.entries({ relay: relay.url, clusters: "prod", wait: "1s", program, ...inputs }).flatMap(
        ([name, value]) => [
          [`inputs.${name}`, value],
          [`parameters.${name}`, value],
        ],
      ),
    ),
    "steps.install.outputs.program": program,
    "System.AccessToken": secret,
  };
  const env = {
    PATH: "/usr/bin:/bin",
    HOME: own,
    RUNNER_TEMP: own,
    AGENT_TEMPDIRECTORY: own,
    CLUSTER_CONNECT_PROGRAM: program,
    GITHUB_ENV: join(own, "env"),
    GITHUB_OUTPUT: join(own, "output"),
    ...visible,
  };
  const job = { env, values, folder: own };
  const last = steps.find(({ script }) => script.includes(" stop --all"));
  if (last === undefined) throw new Error("there is no step that disconnects");
  // A job's service runs it always. A proxy that waited in vain for the cluster is in the background, too.
  onTestFinished(async () => void (await runStep(job, last)));
  const done = await runStep(job, step);
  return { done, made: service.tokens };
}

test.for(FOREIGN)("no job's token for %s is made on the relay's word, nor is one of a person", async (audience) => {
  for (const audiences of [{ relay: audience }, { cluster: audience }]) {
    say({}, audiences);
    const { done, made } = await connectStep("github", {});
    expectRefused(done, "CC_AUDIENCE_REFUSED");
    expect(made).toEqual([]);
  }
  say({}, { relay: audience });
  const person = await cli();
  expectRefused(await person.run(["login", "--no-browser"]), "CC_AUDIENCE_REFUSED");
  expect(relay.tokens).toEqual([]);
});

test("a relay that names one audience for itself and the clusters gets no token", async () => {
  say({}, { cluster: relay.url });
  const { done, made } = await connectStep("github", { "cluster-audience": relay.url });
  expectRefused(done, "CC_AUDIENCE_REFUSED");
  expect(made).toEqual([]);
  const both = await tokens();
  const one = await cli({ ...both, CLUSTER_CONNECT_RELAY_TOKEN: both["CLUSTER_CONNECT_TOKEN"] ?? "" });
  expectRefused(await one.run(["clusters"]), "CC_AUDIENCE_REFUSED");
  expect(relay.tokens).toEqual([]);
});

test("a job's token of Azure Pipelines goes neither to the relay nor to a tenant that the relay names", async () => {
  const exchange = await startFakeTokenExchange(issuer);
  onTestFinished(() => exchange.close());
  say({ issuer: exchange.issuer, resourceParameter: "scope" });
  const raw = await connectStep("azure", { clusterAudience: CLUSTER_AUDIENCE });
  expectRefused(raw.done, "CC_TOKEN_AUDIENCE");
  const exchanged = await connectStep("azure", { clientId: "app-1", clusterAudience: CLUSTER_AUDIENCE });
  expectRefused(exchanged.done, "CC_USAGE");
  expect(exchanged.made).toEqual([]);
  expect(exchange.tokens).toEqual([]);
  expect(relay.tokens).toEqual([]);
});

test("a client's and an application's secret go to no issuer that only the relay names", async () => {
  const asked: string[] = [];
  const evil = createServer((request, response) => {
    asked.push(request.url ?? "");
    response.writeHead(500).end();
  });
  await new Promise<void>((resolve) => evil.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void evil.close());
  const address = evil.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  say({ issuer: `http://127.0.0.1:${port}/tenant/v2.0` });
  const machine = await cli({ CLUSTER_CONNECT_CLIENT_ID: "machine", CLUSTER_CONNECT_CLIENT_SECRET: "s3cret" });
  const done = await machine.run(["run", "-n", "prod", "--", "true"]);
  expectRefused(done, "CC_USAGE");
  expect(done.stderr).toContain("CLUSTER_CONNECT_ISSUER");
  const app = await cli({ AZURE_CLIENT_ID: "app", AZURE_CLIENT_SECRET: "s3cret" });
  expectRefused(await app.run(["login", "--service-principal"]), "CC_USAGE");
  expect(done.stderr).not.toContain("s3cret");
  expect(asked).toEqual([]);
});

test("rights elsewhere are not asked for on the relay's word", async () => {
  say({ scopes: ["openid", "https://management.azure.com/user_impersonation"] });
  const person = await cli();
  expectRefused(await person.run(["login", "--no-browser"]), "CC_AUDIENCE_REFUSED");
});

const COMMANDS: readonly (readonly string[])[] = [
  ["run", "-n", "prod", "--", "true"],
  ["proxy", "-n", "prod", "--port", "0", "-f", "-"],
  ["kubeconfig", "add", "-n", "prod", "-f", "kubeconfig"],
  ["explain", "-n", "prod"],
  ["doctor", "-n", "prod", "--idle-seconds", "0"],
];

test.for(COMMANDS)("no token reaches an authority that only the relay names: %s", async (command) => {
  const impostor = await startRecordingCluster("prod");
  onTestFinished(() => impostor.close());
  relay.routes.set("prod", impostor);
  relay.answers.set("/v1/clusters", { clusters: [listed(impostor)] });
  const job = await cli(await tokens());
  const first = await job.run(command);
  expect(first.code).not.toBe(0);
  expect(first.stdout + first.stderr).toContain("cluster-fingerprint prod=SHA256");
  const named = await cli({ ...(await tokens()), CLUSTER_CONNECT_CLUSTER_FINGERPRINT: fingerprintOf(prod) });
  expect((await named.run(command)).code).not.toBe(0);
  // Beside the true one it is not trusted either.
  relay.answers.set("/v1/clusters", {
    clusters: [listed(prod, { certificateAuthorities: impostor.caPem + prod.caPem })],
  });
  const third = await named.run(command);
  if (command[0] !== "kubeconfig") expect(third.code).not.toBe(0);
  expect(impostor.tokens).toEqual([]);
});

test("the truth works: a command with the fingerprint reaches the cluster that it names", async () => {
  const before = prod.tokens.length;
  const job = await cli({ ...(await tokens()), CLUSTER_CONNECT_CLUSTER_FINGERPRINT: fingerprintOf(prod) });
  expect(await job.run(["run", "-n", "prod", "--", "true"])).toMatchObject({ code: 0 });
  expect(prod.tokens.length).toBeGreaterThan(before);
});

test("a command for staging does not run on prod, whatever the relay says of the two", async () => {
  const before = [prod.tokens.length, staging.tokens.length];
  const command = ["run", "-n", "staging", "--", "true"];
  const both = `${fingerprintOf(prod)} ${fingerprintOf(staging)}`;
  const job = await cli({ ...(await tokens()), CLUSTER_CONNECT_CLUSTER_FINGERPRINT: both });
  // Staging under the name of prod.
  relay.answers.set("/v1/clusters", { clusters: [listed(staging, { serverName: serverNameOf("prod") })] });
  expectRefused(await job.run(command), "CC_RELAY_REFUSED");
  // Prod's streams, and prod's authority for staging.
  relay.answers.set("/v1/clusters", { clusters: [listed(staging)] });
  relay.routes.set("staging", prod);
  expect((await job.run(command)).code).not.toBe(0);
  relay.answers.set("/v1/clusters", {
    clusters: [listed(prod), listed(staging, { certificateAuthorities: prod.caPem })],
  });
  const tricked = `${fingerprintOf(prod)} staging=${fingerprintOf(prod).slice("prod=".length)}`;
  const other = await cli({ ...(await tokens()), CLUSTER_CONNECT_CLUSTER_FINGERPRINT: tricked });
  relay.routes.set("prod", prod);
  expect(await other.run(["kubeconfig", "add", "-n", "prod", "-f", "kubeconfig"])).toMatchObject({ code: 0 });
  expectRefused(await other.run(command), "CC_CLUSTER_UNTRUSTED");
  expect([prod.tokens.length, staging.tokens.length]).toEqual(before);
});

/** A command may write lines, and nothing that moves a cursor or turns text round. */
function expectPlain({ stdout, stderr }: RunResult): void {
  const text = stdout + stderr;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(text.match(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g)).toBeNull();
  // Nor does it begin a line of its own.
  expect(text).not.toMatch(/^ok {4}everything/m);
}

const SHOWN: readonly (readonly string[])[] = [
  ...COMMANDS,
  ...["table", "json", "yaml", "name"].map((format) => ["clusters", "-o", format]),
  ["doctor", "-o", "json", "--idle-seconds", "0"],
  ["explain", "-n", "prod", "-o", "json"],
  ["admin", "clusters", "list"],
  ["admin", "clusters", "label", "prod", "a=b"],
  ["admin", "codes", "create", "-n", "prod"],
  ["admin", "grants", "list"],
  ["admin", "sessions", "list"],
  ["admin", "audit"],
  ["connect", "-n", "prod"],
  ["login", "--no-browser"],
];

test("nothing of the relay reaches a terminal raw: names, reasons, settings, lists, refusals", {
  timeout: 600_000,
}, async () => {
  const cluster = {
    id: ESCAPES,
    labels: { [ESCAPES]: ESCAPES },
    disabled: false,
    status: "Connected",
    reason: ESCAPES,
    createdAt: ESCAPES,
    lastSeenAt: ESCAPES,
    lastSeenSeconds: 1,
    validKeys: 1,
    agents: [],
  };
  const actor = { issuer: ESCAPES, subject: ESCAPES, username: ESCAPES };
  const item = { id: ESCAPES, source: "api", cluster: ESCAPES, code: ESCAPES, event: ESCAPES, actor };
  const lies = (): void => {
    say({ clientId: ESCAPES, issuer: issuer.url });
    const agents = [{ instanceId: ESCAPES, since: ESCAPES }];
    relay.answers.set("/v1/clusters", {
      clusters: [listed(prod, { reason: ESCAPES, status: "degraded", agents, since: ESCAPES })],
    });
    relay.answers.set("/v1/admin/clusters", { items: [cluster], next: null });
    relay.answers.set("/v1/admin/clusters/prod", cluster);
    for (const list of ["codes", "keys", "grants", "sessions", "audit"]) {
      relay.answers.set(`/v1/admin/${list}`, { ...item, items: [item], next: null });
    }
    const near = [{ grant: ESCAPES, lack: ESCAPES, text: ESCAPES }];
    relay.answers.set("/v1/access", { cluster: ESCAPES, allowed: false, reason: ESCAPES, grant: ESCAPES, near });
  };
  const env = { ...(await tokens()), CLUSTER_CONNECT_CLUSTER_FINGERPRINT: fingerprintOf(prod) };
  lies();
  const info = { relayId: ESCAPES, software: ESCAPES, login: null };
  relay.answers.set("/.well-known/cluster-connect", info);
  relay.rejection = { code: "CC_AGENT_OFFLINE", text: ESCAPES };
  for (const words of SHOWN) expectPlain(await (await cli(env)).run(words));
  relay.refusal = { code: "CC_GRANT_MISSING", message: ESCAPES };
  for (const words of SHOWN) expectPlain(await (await cli(env)).run(words));
});

test("a relay whose list has no end is left", { timeout: 300_000 }, async () => {
  relay.answers.set("/v1/admin/clusters", { items: [], next: "again" });
  const admin = await cli(await tokens());
  expectRefused(await admin.run(["admin", "clusters", "list"]), "CC_RELAY_REFUSED");
});

test("the relay's audience that a person names is asked for, and no other", async () => {
  say({}, { relay: "https://management.azure.com", cluster: CLUSTER_AUDIENCE });
  const inputs = { "relay-audience": RELAY_AUDIENCE, "cluster-audience": CLUSTER_AUDIENCE };
  const { made, done } = await connectStep("github", { ...inputs, "cluster-fingerprint": fingerprintOf(prod) });
  for (const token of made) expect(done.stdout).toContain(`::add-mask::${token}\n`);
  const audiences = made.map((token) => JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()).aud);
  expect(new Set(audiences)).toEqual(new Set([RELAY_AUDIENCE, CLUSTER_AUDIENCE]));
});

test("no job leaves a process behind", async () => {
  const inUse: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
    if (environment.includes(`RUNNER_TEMP=${folder}`))
      inUse.push(await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""));
  }
  expect(inUse).toEqual([]);
});
