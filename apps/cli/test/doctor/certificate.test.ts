import { once } from "node:events";
import { createServer } from "node:https";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { checkCertificate } from "../../src/doctor/certificate.ts";

test("a certificate whose time is over is shown with its times and with this machine's", async () => {
  const notAfter = new Date("2026-01-02T03:04:05Z");
  const server = createServer(await selfSigned({ notAfter })).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const check = { relay: new URL(`https://127.0.0.1:${port}`), proxy: undefined, expectsOwn: false };
  const now = (): number => Date.parse("2026-03-01T12:00:00Z");
  await expect(checkCertificate(check, { signal: AbortSignal.any([]) }, { now })).rejects.toMatchObject({
    code: "CC_TLS_UNTRUSTED",
    message: expect.stringMatching(/to Jan {2}2 03:04:05 2026 GMT .*; this machine's clock says 2026-03-01T12:00:00Z$/),
    hint: expect.stringMatching(/^Compare this machine's clock/),
  });
});
