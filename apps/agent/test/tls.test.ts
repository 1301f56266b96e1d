import { writeFile } from "node:fs/promises";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { configFor, startTestAgent } from "./support/fixture.ts";
import { startTestRelay } from "./support/test-relay.ts";

test("a relay whose authority is named is enrolled at and dialed over TLS", async () => {
  const certificate = await selfSigned();
  const relay = await startTestRelay(certificate);
  const config = await configFor(relay);
  const caFile = `${config.authProxy.authoritiesFile}.relay`;
  await writeFile(caFile, certificate.cert);
  await startTestAgent({ ...config, relay: { ...config.relay, caFile } });
  await relay.nextSession();
  expect(relay.hellos[0]?.agent?.authority).toBe(relay.url.host);
});

test("a relay with a certificate of somebody unknown gets no code", async () => {
  const relay = await startTestRelay(await selfSigned());
  const config = await configFor(relay);
  await expect(startTestAgent(config)).rejects.toMatchObject({
    code: "CC_TLS_UNTRUSTED",
    message: expect.stringContaining(relay.url.host),
  });
  expect(relay.enrollments).toEqual([]);
});

test("an authority file that is missing is named with its setting", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay);
  await expect(
    startTestAgent({ ...config, relay: { ...config.relay, caFile: "/nowhere/ca.crt" } }),
  ).rejects.toMatchObject({
    code: "CC_FILE_MISSING",
    message: "relay.caFile: /nowhere/ca.crt does not exist",
  });
});
