import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import type { LoginSettings } from "@cluster-connect/api";
import { expect, test } from "vitest";
import { signInByDevice } from "../../src/login/device-sign-in.ts";
import { loginSettings } from "../../src/login/login-settings.ts";
import { discoverIssuer } from "../../src/login/oidc.ts";
import { renewLogin } from "../../src/login/renew.ts";
import { formatLoginRecord, type LoginRecord, parseLoginRecord } from "../../src/tokens/login/login-record.ts";
import { testCli } from "../support/cli.ts";
import { listenLocally } from "../support/listen.ts";
import { unsignedToken } from "../support/tokens.ts";

const SECRET = "GOCSPX-of a desktop/client";
const { signal } = new AbortController();
const { deps } = testCli("/nowhere");

/** An issuer that asks its desktop client for a secret, in the ways that it names. */
async function startIssuer(methods: readonly string[] | undefined): Promise<LoginSettings> {
  const server = createServer(async (request, response) => {
    const send = (status: number, value: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    };
    const issuer = `http://${request.headers.host}`;
    if (request.url?.startsWith("/.well-known/") === true) {
      const device = { device_authorization_endpoint: `${issuer}/device` };
      const named = methods === undefined ? {} : { token_endpoint_auth_methods_supported: methods };
      return send(200, { issuer, token_endpoint: `${issuer}/token`, ...device, ...named });
    }
    const form = new URLSearchParams(await text(request));
    const [, basic = ""] = (request.headers.authorization ?? "").split("Basic ");
    const [, inHeader = ""] = Buffer.from(basic, "base64").toString().split(":");
    const given = form.get("client_secret") ?? decodeURIComponent(inHeader.replaceAll("+", " "));
    const used = form.has("client_secret") ? "client_secret_post" : "client_secret_basic";
    if (given === "") return send(400, { error: "invalid_request", error_description: "client_secret is missing." });
    if (given !== SECRET || methods?.includes(used) === false) return send(401, { error: "invalid_client" });
    if (request.url === "/device") {
      const verification_uri = `${issuer}/enter`;
      return send(200, { device_code: "d", user_code: "ABCD", verification_uri, expires_in: 600, interval: 1 });
    }
    send(200, { access_token: unsignedToken({ aud: "relay" }), token_type: "Bearer", expires_in: 3_600 });
  });
  return {
    issuer: await listenLocally(server),
    clientId: "desktop",
    clientSecret: SECRET,
    scopes: ["openid"],
    audiences: { relay: "relay", cluster: "cluster" },
    resourceParameter: "resource",
  };
}

const recordOf = (settings: LoginSettings): LoginRecord => ({
  relay: "https://relay.example.com",
  settings,
  name: "alice",
  refreshToken: "refresh",
  tokens: {},
});

test.each([
  ["that says nothing about it", undefined],
  ["that takes it in the header", ["client_secret_basic"]],
  ["that takes it in the form", ["client_secret_post"]],
  ["that takes both", ["client_secret_post", "client_secret_basic"]],
])(
  "a person signs in and stays signed in at an issuer %s, by the relay's word on the client",
  async (_what, methods) => {
    const settings = await startIssuer(methods);
    const { configuration } = await discoverIssuer(settings, { signal }, deps);
    const answer = await signInByDevice(configuration, settings, { signal, clusters: [] }, () => {});
    expect(answer.token_type).toBe("bearer");
    // As the login is kept between two commands.
    const kept = parseLoginRecord(formatLoginRecord(recordOf(settings)), "login.json");
    expect(kept.settings).toEqual(settings);
    expect((await renewLogin(kept, "relay", { signal }, deps)).tokens["relay"]?.token).toMatch(/\./);
  },
);

test("an issuer that wants one and gets none says so in its own words", async () => {
  const { clientSecret: _secret, ...settings } = await startIssuer(undefined);
  await expect(renewLogin(recordOf(settings), "relay", { signal }, deps)).rejects.toMatchObject({
    message: expect.stringContaining("client_secret is missing."),
  });
});

test("the secret goes with the announced client to the announced issuer, and with nothing else", () => {
  const announced: LoginSettings = {
    issuer: "https://accounts.google.com",
    clientId: "desktop",
    clientSecret: SECRET,
    scopes: ["openid"],
    audiences: { relay: "https://relay.example.com", cluster: "c" },
    resourceParameter: "resource",
  };
  const named = { relayAudience: undefined, clusterAudience: undefined, issuer: undefined };
  const sources = { relay: new URL("https://relay.example.com"), pinned: undefined, machine: undefined, env: {} };
  expect(loginSettings({}, { ...sources, named, announced }).clientSecret).toBe(SECRET);
  expect(loginSettings({ clientId: "own" }, { ...sources, named, announced }).clientSecret).toBeUndefined();
  const elsewhere = { ...named, issuer: "https://login.example.com" };
  expect(loginSettings({}, { ...sources, named: elsewhere, announced })).not.toHaveProperty("clientSecret");
});
