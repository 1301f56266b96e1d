import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createTokenVerifier, parseAuthenticationConfiguration } from "@cluster-connect/auth";
import { startTestIssuer } from "@cluster-connect/auth/testing";
import { createInstanceId, type Health } from "@cluster-connect/service";
import { expect, onTestFinished, test } from "vitest";
import { createRelayHealth } from "../../src/observe/health.ts";
import { POSTGRES } from "../../src/store/open/dialect.ts";
import { openPostgres } from "../../src/store/open/postgres.ts";
import type { Store } from "../../src/store/store.ts";

/** A store behind a host that takes all bytes and says nothing, as one behind a broken network does. */
async function silentStore(): Promise<Store> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket.resume().on("error", () => undefined)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address: AddressInfo | string | null = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const db = openPostgres(`postgres://relay@127.0.0.1:${port}/relay`);
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await db.destroy();
  });
  return { db, dialect: POSTGRES, relayId: createInstanceId(), close: () => db.destroy() };
}

async function healthWith(withinOutage: boolean): Promise<Health> {
  const issuer = await startTestIssuer();
  onTestFinished(() => issuer[Symbol.asyncDispose]());
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [
      {
        issuer: { url: issuer.url, audiences: ["relay"] },
        claimMappings: { username: { claim: "sub", prefix: "" } },
      },
    ],
  };
  const options = { allowInsecureLoopback: true };
  const verifier = createTokenVerifier(
    parseAuthenticationConfiguration(JSON.stringify(configuration), options).issuers,
  );
  const storeState = () => ({ away: false, readAt: new Date(0), withinOutage });
  return createRelayHealth({ store: await silentStore(), storeState, verifier, checkPeers: undefined });
}

test("a database that says nothing leaves the relay ready while what was read still counts", async () => {
  const { ok, checks } = await (await healthWith(true)).ready();
  expect(checks).toContainEqual({
    name: "store",
    ok: true,
    text: "does not answer; what was read 1970-01-01T00:00:00.000Z is served",
  });
  expect(ok).toBe(true);
});

test("afterwards it does not", async () => {
  const { ok, checks } = await (await healthWith(false)).ready();
  expect(checks).toContainEqual({ name: "store", ok: false, text: "does not answer" });
  expect(ok).toBe(false);
});
