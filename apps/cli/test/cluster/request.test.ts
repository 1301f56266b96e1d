import { once } from "node:events";
import { connect } from "node:net";
import { duplexPair } from "node:stream";
import { createServer } from "node:tls";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { askCluster } from "../../src/cluster/request.ts";

const END = { cluster: "prod", serverName: "prod.clusters.test", authorities: "", token: "t" } as const;
const NEVER = new AbortController().signal;

test("a stream to a cluster that fails again after its failure ends nothing but the question", async () => {
  const [near] = duplexPair();
  const asked = askCluster(END, { path: "/" }, { signal: NEVER }, async () => near);
  const first = expect(asked).rejects.toMatchObject({ code: "CC_UPSTREAM_UNREACHABLE" });
  await new Promise(setImmediate);
  near.destroy(new Error("first"));
  await first;
  expect(() => near.emit("error", new Error("second"))).not.toThrow();
  expect(() => near.emit("error", new Error("third"))).not.toThrow();
});

test("a certificate whose time is over leads to the clock, and never to another authority", async () => {
  const expired = await selfSigned({ name: END.serverName, notAfter: new Date("2026-01-02T03:04:05Z") });
  const server = createServer(expired).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const end = { ...END, authorities: expired.cert };
  await expect(askCluster(end, { path: "/" }, { signal: NEVER }, async () => connect(port))).rejects.toMatchObject({
    code: "CC_TLS_UNTRUSTED",
    message: "The certificate of prod is not good at this time (CERT_HAS_EXPIRED)",
    hint: expect.stringMatching(/^Compare this machine's clock/),
  });
});
