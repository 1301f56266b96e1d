import { X509Certificate } from "node:crypto";
import { access, chmod, mkdir, mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import type { RunResult } from "../../src/process/run-to-end.ts";
import { runToEnd } from "../../src/process/run-to-end.ts";
import { CLUSTER_AUDIENCE, RELAY_AUDIENCE } from "../../src/stack/issuer.ts";
import { type FakeCiService, startFakeCiService } from "../support/pipelines/ci-service.ts";
import {
  azureSteps,
  azureVariables,
  file,
  githubSteps,
  type Job,
  readVariables,
  runStep,
  type ShellStep,
} from "../support/pipelines/ci-steps.ts";
import { startFakeTokenExchange } from "../support/pipelines/token-exchange.ts";
import { NO_END, useStack } from "../support/stack.ts";

const suite = useStack();
let program: string;

const ACTION = "integrations/github-action/action.yml";
const CLEANUP = "integrations/github-action/cleanup/action.yml";
const TEMPLATE = "integrations/azure-pipelines/cluster-connect.yml";

beforeAll(async () => {
  const { stack, folder } = suite();
  const cli = await stack.cli("runner");
  const [node, ...args] = cli.command.filter((word) => !word.endsWith(".mjs"));
  program = join(folder, "cluster-connect");
  const main = new URL("../../../apps/cli/src/main.ts", import.meta.url).pathname;
  await writeFile(program, `#!/bin/sh\nexec ${node} ${args.join(" ")} ${main} "$@"\n`);
  await chmod(program, 0o755);
});

interface Place extends Job {
  readonly service: FakeCiService;
  kubectl(...args: readonly string[]): Promise<RunResult>;
}

/** A fresh runner: nothing but what the build service sets. */
async function place(kind: "github" | "azure", values: Readonly<Record<string, string>>): Promise<Place> {
  const { stack, folder, tools } = suite();
  const service = await startFakeCiService(kind, stack.issuer);
  onTestFinished(() => service.close());
  const { fingerprint256: fingerprint } = new X509Certificate(await readFile(stack.authProxy.caFile));
  const own = await mkdtemp(join(folder, `${kind}-`));
  const temporary = join(own, "temp");
  await mkdir(temporary);
  const names =
    kind === "github"
      ? {
          RUNNER_TEMP: temporary,
          GITHUB_ENV: join(own, "env"),
          GITHUB_OUTPUT: join(own, "output"),
          GITHUB_PATH: join(own, "path"),
        }
      : { AGENT_TEMPDIRECTORY: temporary };
  const { SYSTEM_ACCESSTOKEN: secret = "", ...visible } = service.env;
  const env: Record<string, string> = {
    PATH: `${tools.path}:/usr/bin:/bin`,
    HOME: own,
    KUBECACHEDIR: join(own, "cache"),
    ...names,
    ...visible,
  };
  const inputs = {
    "inputs.relay": stack.relay.url,
    "inputs.clusters": stack.clusterId,
    "inputs.ca-file": stack.relay.caFile ?? "",
    "inputs.relay-audience": RELAY_AUDIENCE,
    "inputs.cluster-audience": CLUSTER_AUDIENCE,
    "inputs.cluster-fingerprint": `${stack.clusterId}=${fingerprint}`,
    "inputs.fleet-key": "",
    "inputs.fleet-revocations": "",
    "inputs.wait": "10s",
    "inputs.version": "latest",
    "inputs.program": program,
    "inputs.run": "",
  };
  const parameters = Object.fromEntries(
    Object.entries(inputs).map(([name, value]) => [
      name.replace("inputs.", "parameters.").replaceAll(/-(\w)/g, (_all, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );
  const all = {
    ...inputs,
    ...parameters,
    "parameters.serviceConnection": "",
    "parameters.clientId": "",
    "parameters.tenant": "",
    "parameters.issuer": "",
    "steps.install.outputs.program": program,
    "System.AccessToken": secret,
    ...values,
  };
  const job = { env, values: all, folder: own };
  const kubectl = (...args: readonly string[]): Promise<RunResult> =>
    runToEnd(tools.kubectl, args, {
      env: { ...job.env, ...(secret === "" ? {} : { SYSTEM_ACCESSTOKEN: secret }) },
      signal: NO_END,
    });
  return { ...job, service, kubectl };
}

const named = (steps: readonly ShellStep[], name: string): ShellStep => {
  const found = steps.find((step) => step.name === name);
  if (found === undefined) throw new Error(`there is no step ${name}`);
  return found;
};

async function good(job: Job, step: ShellStep): Promise<RunResult> {
  const done = await runStep(job, step);
  expect([done.code, done.stderr]).toEqual([0, expect.not.stringContaining("error:")]);
  return done;
}

/** Only what asks the runner to hide a token may show it. */
function expectMasked(tokens: readonly string[], mask: string, done: readonly RunResult[]): void {
  expect(tokens.length).toBeGreaterThan(0);
  const text = done.map(({ stdout, stderr }) => stdout + stderr).join("");
  const masked = text.split("\n").filter((line) => line.startsWith(mask));
  expect(masked.map((line) => line.slice(mask.length))).toSatisfy((shown: readonly string[]) =>
    shown.every((token) => tokens.includes(token)),
  );
  // The relay's and the cluster's.
  expect(new Set(masked).size).toBeGreaterThanOrEqual(2);
  const rest = text.split("\n").filter((line) => !line.startsWith(mask));
  for (const token of tokens) expect(rest.join("\n")).not.toContain(token);
}

/** The files that steps keep between them are closed to other users of the machine. */
async function expectPrivate(folder: string): Promise<void> {
  for (const path of ["", "config", "state"]) {
    expect((await stat(join(folder, "cluster-connect", path))).mode & 0o077).toBe(0);
  }
}

async function expectNothingLeft(job: Job, folder: string): Promise<void> {
  await expect(access(join(folder, "cluster-connect"))).rejects.toMatchObject({ code: "ENOENT" });
  const processes = await readdir("/proc");
  const commands = await Promise.all(
    processes
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => runToEnd("cat", [`/proc/${pid}/cmdline`], { env: {}, signal: NO_END })),
  );
  expect(commands.filter(({ stdout }) => stdout.includes(job.folder))).toEqual([]);
}

test("GitHub Actions: a job without a secret connects, uses kubectl in later steps, and cleans up", async () => {
  const job = await place("github", {});
  const steps = await githubSteps(ACTION);
  const done = [await good(job, named(steps, "Install cluster-connect")), await good(job, named(steps, "Connect"))];
  expectMasked(job.service.tokens, "::add-mask::", done);
  await expectPrivate(job.env["RUNNER_TEMP"] ?? "");
  Object.assign(job.env, await readVariables(file(job, "env")));
  expect(await readVariables(file(job, "output"))).toMatchObject({ kubeconfig: job.env["KUBECONFIG"] });
  const whoami = await job.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}");
  expect(whoami).toMatchObject({ code: 0, stdout: "demo:repo:acme/shop" });
  await good(job, named(await githubSteps(CLEANUP), "Disconnect"));
  await expectNothingLeft(job, job.env["RUNNER_TEMP"] ?? "");
});

test("GitHub Actions: a command in the action has KUBECONFIG, and whatever its end everything is cleaned up", async () => {
  const job = await place("github", { "inputs.run": "kubectl get namespaces default -o name; exit 7" });
  const steps = await githubSteps(ACTION);
  for (const name of ["Install cluster-connect", "Connect"]) await good(job, named(steps, name));
  Object.assign(job.env, await readVariables(file(job, "env")));
  expect(await runStep(job, named(steps, "Run"))).toMatchObject({ code: 7, stdout: "namespace/default\n" });
  expect(named(steps, "Disconnect").condition).toContain("always()");
  await good(job, named(steps, "Disconnect"));
  await expectNothingLeft(job, job.env["RUNNER_TEMP"] ?? "");
});

test("GitHub Actions: a job that may not have tokens is told which permission is missing", async () => {
  const job = await place("github", {});
  delete job.env["ACTIONS_ID_TOKEN_REQUEST_URL"];
  const { code, stdout } = await runStep(job, named(await githubSteps(ACTION), "Connect"));
  expect(code).toBe(1);
  expect(stdout).toContain("::error::This job may not have tokens. Give it 'permissions: id-token: write'.");
});

test("a cluster that does not answer fails the step with the reason", async () => {
  const job = await place("github", { "inputs.clusters": "nope" });
  const { code, stderr } = await runStep(job, named(await githubSteps(ACTION), "Connect"));
  expect(code).toBe(4);
  expect(stderr).toContain("CC_CLUSTER_UNKNOWN");
});

test("Azure Pipelines: a job's own token, which Entra would take from whoever has it, does not go to the relay", async () => {
  const job = await place("azure", {});
  job.env["CLUSTER_CONNECT_PROGRAM"] = program;
  const { code, stderr } = await runStep(job, named(await azureSteps(TEMPLATE), "Connect"));
  expect(code).toBe(34);
  expect(stderr).toContain("is for api://AzureADTokenExchange");
});

test("Azure Pipelines: a job without a secret connects, uses kubectl in later steps, and cleans up", async () => {
  const exchange = await startFakeTokenExchange(suite().stack.issuer);
  onTestFinished(() => exchange.close());
  const job = await place("azure", {
    "parameters.clientId": "99999999-0000-4000-8000-000000000009",
    "parameters.issuer": exchange.issuer,
  });
  const authorities = join(job.folder, "entra-ca.pem");
  await writeFile(authorities, exchange.caPem);
  job.env["NODE_EXTRA_CA_CERTS"] = authorities;
  const steps = await azureSteps(TEMPLATE);
  const done: RunResult[] = [];
  for (const name of ["Install cluster-connect", "Connect"]) {
    const step = await good(job, named(steps, name));
    Object.assign(job.env, azureVariables(step.stdout));
    done.push(step);
  }
  expectMasked([...job.service.tokens, ...exchange.tokens], "##vso[task.setsecret]", done);
  await expectPrivate(job.env["AGENT_TEMPDIRECTORY"] ?? "");
  const whoami = await job.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}");
  expect(whoami).toMatchObject({ code: 0, stdout: "demo:application-1" });
  const last = named(steps, "Disconnect");
  expect(last.condition).toBe("always()");
  await good(job, last);
  await expectNothingLeft(job, job.env["AGENT_TEMPDIRECTORY"] ?? "");
});
