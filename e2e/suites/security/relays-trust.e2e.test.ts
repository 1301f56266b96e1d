import { writeFile } from "node:fs/promises";
import { connect as connectTcp, createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDirectWorld, type DirectProxy, type DirectWorld } from "../support/direct-proxy.ts";

const AUDIENCE_B = "https://cluster-b.example";

let world: DirectWorld;
let a: DirectProxy;
let b: DirectProxy;
/** Takes each caller that comes for A to B, as a hostile relay could. */
let detour: Server;

beforeAll(async () => {
  world = await createDirectWorld();
  await world.setRole("legacy");
  const authenticationConfig = join(world.folder, "issuers-b.json");
  const claimMappings = { username: { claim: "sub", prefix: "demo:" }, groups: { claim: "groups", prefix: "demo:" } };
  await writeFile(
    authenticationConfig,
    JSON.stringify({
      apiVersion: "apiserver.config.k8s.io/v1",
      kind: "AuthenticationConfiguration",
      jwt: [{ issuer: { url: world.issuer.url, audiences: [AUDIENCE_B] }, claimMappings }],
    }),
  );
  a = await world.start();
  b = await world.start({ authenticationConfig });
  const { promise, resolve } = Promise.withResolvers<void>();
  detour = createServer((socket) => {
    const onward = connectTcp(Number(new URL(b.target.url).port), "127.0.0.1");
    socket.on("error", () => onward.destroy());
    onward.on("error", () => socket.destroy());
    socket.pipe(onward).pipe(socket);
  }).listen(0, "127.0.0.1", () => resolve());
  await promise;
});

afterAll(async () => {
  detour?.close();
  await world?.[Symbol.asyncDispose]();
});

/** A as its callers know it, at the hostile way. */
function detoured(trusting: DirectProxy): DirectProxy {
  const address = detour.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  return { ...trusting, target: { ...trusting.target, url: `https://127.0.0.1:${port}` } };
}

const WHO_AM_I = ["auth", "whoami", "-o", "name"];

test("a caller of cluster A reaches cluster A", async () => {
  const token = await world.token("jane");
  await expect(world.kubectlAt(a, token, WHO_AM_I)).resolves.toMatchObject({ code: 0 });
});

test("a caller of cluster A who is taken to cluster B ends before the token is sent", async () => {
  const token = await world.token("jane");
  const { code, stderr } = await world.kubectlAt(detoured(a), token, WHO_AM_I);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/x509|certificate/);
  const seen = await b.logEvents();
  expect(seen.filter(({ event }) => event === "request")).toEqual([]);
});

test("a token for cluster A that reaches cluster B is refused there", async () => {
  const token = await world.token("jane");
  const { code, stderr } = await world.kubectlAt(detoured(b), token, WHO_AM_I);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/Unauthorized|logged in|credentials/i);
  const forB = await world.issuer.sign({ aud: AUDIENCE_B, sub: "jane", groups: [] });
  await expect(world.kubectlAt(b, forB, WHO_AM_I)).resolves.toMatchObject({ code: 0 });
  await expect(world.kubectlAt(a, forB, WHO_AM_I)).resolves.not.toMatchObject({ code: 0 });
});
