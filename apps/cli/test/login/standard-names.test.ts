import { createServer } from "node:http";
import type { LoginSettings } from "@cluster-connect/api";
import { expect, test } from "vitest";
import { signInByDevice } from "../../src/login/device-sign-in.ts";
import { discoverIssuer } from "../../src/login/oidc.ts";
import { withStandardNames } from "../../src/login/standard-names.ts";
import { testCli } from "../support/cli.ts";
import { listenLocally } from "../support/listen.ts";

/** An issuer that answers as it likes. */
async function startIssuer(device: Readonly<Record<string, unknown>>): Promise<LoginSettings> {
  const server = createServer((request, response) => {
    const send = (value: unknown): void => {
      response.writeHead(200, { "content-type": "application/json; charset=utf-8" }).end(JSON.stringify(value));
    };
    const issuer = `http://${request.headers.host}`;
    if (request.url?.startsWith("/.well-known/") === true) {
      send({ issuer, token_endpoint: `${issuer}/token`, device_authorization_endpoint: `${issuer}/device` });
    } else if (request.url === "/device") send(device);
    else send({ access_token: "a", token_type: "Bearer", expires_in: "3600" });
  });
  return {
    issuer: await listenLocally(server),
    clientId: "client",
    scopes: ["openid"],
    audiences: { relay: "relay", cluster: "cluster" },
    resourceParameter: "resource",
  };
}

const { signal } = new AbortController();

async function signIn(
  device: Readonly<Record<string, unknown>>,
): Promise<{ readonly url: string; readonly expiresInSeconds: number }> {
  const settings = await startIssuer(device);
  const { configuration } = await discoverIssuer(settings, { signal }, testCli("/nowhere").deps);
  const shown = Promise.withResolvers<{ readonly url: string; readonly expiresInSeconds: number }>();
  shown.promise.catch(() => {});
  await signInByDevice(configuration, settings, { signal, clusters: [] }, shown.resolve);
  return await shown.promise;
}

test("Google's name for the address, and numbers that are text, are taken", async () => {
  const device = {
    device_code: "d",
    user_code: "ABCD",
    verification_url: "https://www.google.com/device",
    expires_in: "1800",
    interval: "0",
  };
  expect(await signIn({ ...device, interval: "1" })).toMatchObject({
    url: "https://www.google.com/device",
    expiresInSeconds: 1_800,
  });
});

test("an answer without an address is refused with the name of the field", async () => {
  const device = { device_code: "d", user_code: "ABCD", expires_in: 1_800 };
  await expect(signIn(device)).rejects.toMatchObject({
    code: "CC_LOGIN_FAILED",
    message: expect.stringContaining('"verification_uri"'),
  });
});

test("the standard's name wins, and what is no object, no JSON or no success stays as it is", async () => {
  const json = { "content-type": "application/json" };
  const both = new Response('{"verification_uri":"a","verification_url":"b","expires_in":"x"}', { headers: json });
  expect(await (await withStandardNames(both)).json()).toEqual({
    verification_uri: "a",
    verification_url: "b",
    expires_in: "x",
  });
  for (const [body, init] of [
    ["[1]", { headers: json }],
    ["not json", { headers: json }],
    ['{"interval":"5"}', { status: 400, headers: json }],
    ['{"interval":"5"}', { headers: { "content-type": "text/html" } }],
  ] as const) {
    const answer = await withStandardNames(new Response(body, init));
    expect([answer.status, await answer.text()]).toEqual(["status" in init ? init.status : 200, body]);
  }
});
