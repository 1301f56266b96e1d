import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getEntraMachineToken } from "@cluster-connect/auth/azure";
import { startTestIssuer } from "@cluster-connect/auth/testing";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, onTestFinished, test, vi } from "vitest";
import { CLUSTER_APP, DEPS, NO_END, RELAY_APP, stage } from "./stage.ts";

const APP = "99999999-0000-4000-8000-000000000009";

const claimsOf = (token: string): Readonly<Record<string, unknown>> =>
  JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cluster-connect-entra-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test.for(["right", "wrong"] as const)("a service principal with the %s secret", async (which) => {
  const { client } = await stage([{ clientId: APP, secret: "the right one" }]);
  const machine = { kind: "secret", secret: `the ${which} one` } as const;
  const got = getEntraMachineToken({ ...client, clientId: APP }, machine, CLUSTER_APP, NO_END, DEPS);
  if (which === "right") {
    expect(claimsOf((await got).token)).toMatchObject({ aud: CLUSTER_APP, idtyp: "app", oid: APP });
    return;
  }
  await expect(got).rejects.toMatchObject({
    code: "CC_LOGIN_FAILED",
    message: expect.stringContaining("AADSTS7000215"),
  });
  await expect(got).rejects.not.toThrow("the wrong one");
});

test("a service principal signs with its certificate's key", async () => {
  const identity = await selfSigned({ name: "app", kind: "rsa" });
  const path = join(await temporaryFolder(), "app.pem");
  await writeFile(path, identity.cert + identity.key, { mode: 0o600 });
  const { client } = await stage([{ clientId: APP, certificate: identity.cert }]);
  const machine = { kind: "certificate", path } as const;
  const { token } = await getEntraMachineToken({ ...client, clientId: APP }, machine, CLUSTER_APP, NO_END, DEPS);
  expect(claimsOf(token)).toMatchObject({ aud: CLUSTER_APP, oid: APP });
});

test("another certificate's signature is refused, and a missing file is named", async () => {
  const path = join(await temporaryFolder(), "app.pem");
  const other = await selfSigned({ name: "other", kind: "rsa" });
  await writeFile(path, other.cert + other.key, { mode: 0o600 });
  const { client } = await stage([
    { clientId: APP, certificate: (await selfSigned({ name: "app", kind: "rsa" })).cert },
  ]);
  const ask = (file: string): Promise<unknown> =>
    getEntraMachineToken({ ...client, clientId: APP }, { kind: "certificate", path: file }, CLUSTER_APP, NO_END, DEPS);
  await expect(ask(path)).rejects.toMatchObject({ code: "CC_LOGIN_FAILED" });
  await expect(ask(`${path}.missing`)).rejects.toMatchObject({ message: expect.stringContaining("app.pem.missing") });
});

test("a pod's projected token is exchanged, as workload identity does, and read anew each time", async () => {
  await using external = await startTestIssuer({ algorithms: ["RS256"] });
  const path = join(await temporaryFolder(), "token");
  const federated = {
    issuer: external.url,
    subject: "system:serviceaccount:ci:runner",
    keys: () => ({ keys: [...external.publicKeys()] }),
  };
  const { client } = await stage([{ clientId: APP, federated }]);
  const ask = (): ReturnType<typeof getEntraMachineToken> =>
    getEntraMachineToken({ ...client, clientId: APP }, { kind: "federatedTokenFile", path }, CLUSTER_APP, NO_END, DEPS);
  const aud = "api://AzureADTokenExchange";
  await writeFile(path, await external.sign({ sub: federated.subject, aud }));
  expect(claimsOf((await ask()).token)["oid"]).toBe(APP);
  await writeFile(path, await external.sign({ sub: "system:serviceaccount:other:one", aud }));
  await expect(ask()).rejects.toMatchObject({ code: "CC_LOGIN_FAILED" });
});

test("a build service's token is exchanged without a file", async () => {
  await using external = await startTestIssuer({ algorithms: ["RS256"] });
  const federated = { issuer: external.url, subject: "repo:a/b", keys: () => ({ keys: [...external.publicKeys()] }) };
  const { client } = await stage([{ clientId: APP, federated }]);
  const assertion = (): Promise<string> => external.sign({ sub: "repo:a/b", aud: "api://AzureADTokenExchange" });
  const own = { ...client, clientId: APP };
  const { token } = await getEntraMachineToken(own, { kind: "assertion", assertion }, CLUSTER_APP, NO_END, DEPS);
  expect(claimsOf(token)["azp"]).toBe(APP);
});

test("managed identity asks the machine's metadata service, for the system's or for a named client", async () => {
  const { client } = await stage();
  const asked: IncomingMessage[] = [];
  const metadata = createServer((request, response) => {
    asked.push(request);
    const body = { access_token: "fake-token", expires_in: "3600", token_type: "Bearer", resource: CLUSTER_APP };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  metadata.listen(0, "127.0.0.1");
  await once(metadata, "listening");
  const address = metadata.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  vi.stubEnv("AZURE_POD_IDENTITY_AUTHORITY_HOST", `http://127.0.0.1:${port}`);
  onTestFinished(() => void vi.unstubAllEnvs());
  const ask = (clientId: string | undefined, audience = CLUSTER_APP): ReturnType<typeof getEntraMachineToken> =>
    getEntraMachineToken(client, { kind: "managedIdentity", clientId }, audience, NO_END, DEPS);
  for (const [at, clientId] of [undefined, APP].entries()) {
    expect((await ask(clientId)).token).toBe("fake-token");
    const url = new URL(asked[at]?.url ?? "", "http://metadata");
    expect(url.pathname).toMatch(/^\/metadata\/identity\/oauth2\/token\/?$/);
    expect(url.searchParams.get("resource")).toBe(CLUSTER_APP);
    expect(url.searchParams.get("client_id")).toBe(clientId ?? null);
    expect(asked[at]?.headers["metadata"]).toBe("true");
  }
  metadata.close();
  metadata.closeAllConnections();
  await expect(ask(undefined, RELAY_APP)).rejects.toMatchObject({
    code: "CC_ISSUER_UNREACHABLE",
    message: expect.stringContaining("metadata service"),
  });
});

/** A fake `az` on PATH. */
async function fakeAz(script: string): Promise<void> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "az"), `#!/bin/sh\n${script}\n`);
  await chmod(join(folder, "az"), 0o755);
  vi.stubEnv("PATH", `${folder}:${process.env["PATH"]}`);
  onTestFinished(() => void vi.unstubAllEnvs());
}

test.skipIf(process.platform === "win32")("a sign-in of az is used for our audience and tenant", async () => {
  const { client } = await stage();
  await fakeAz(`echo "{\\"accessToken\\":\\"fake $*\\",\\"expires_on\\":4102444800}"`);
  const { token, expiresAt } = await getEntraMachineToken(client, { kind: "azureCli" }, CLUSTER_APP, NO_END, DEPS);
  expect(token).toContain(
    `account get-access-token --output json --resource ${CLUSTER_APP} --tenant ${client.tenantId}`,
  );
  expect(expiresAt.getUTCFullYear()).toBe(2100);
});

test.skipIf(process.platform === "win32")("an az that nobody is signed in to says what to do", async () => {
  const { client } = await stage();
  await fakeAz("echo \"Please run 'az login' to setup account.\" >&2; exit 1");
  const failed = getEntraMachineToken(client, { kind: "azureCli" }, CLUSTER_APP, NO_END, DEPS);
  await expect(failed).rejects.toMatchObject({
    code: "CC_LOGIN_FAILED",
    message: expect.stringContaining("'az login'"),
  });
});
