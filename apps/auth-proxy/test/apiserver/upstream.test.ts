import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createMetrics } from "@cluster-connect/service";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, onTestFinished, test } from "vitest";
import type { Admitted } from "../../src/admission/admit.ts";
import type { ApiserverClient } from "../../src/apiserver/client.ts";
import type { ServiceAccount } from "../../src/apiserver/service-account.ts";
import { createUpstream, type Upstream } from "../../src/apiserver/upstream.ts";
import { createUnderWay } from "../../src/ending/under-way.ts";
import { createRequestLog } from "../../src/observe/log.ts";
import { createProxyMetrics } from "../../src/observe/metrics.ts";
import { proxyUpgrade } from "../../src/proxying/upgrade.ts";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { requestText } from "../support/raw-client.ts";

function upstreamOf(fixture: Fixture): Upstream {
  const deps = { ca: () => fixture.upstreamCa, clock: SYSTEM_CLOCK };
  const upstream = createUpstream(fixture.upstream.url, { http2: false }, deps);
  onTestFinished(() => upstream.close());
  return upstream;
}

test.each([true, false])(
  "a request that is given up before anything waits for it ends alone, upgrade: %s",
  async (upgrade) => {
    await using fixture = await createFixture();
    const outgoing = upstreamOf(fixture).open({ method: "GET", target: "/", headers: ["Host", "a"], upgrade });
    const closed = new Promise((resolve) => void outgoing.once("close", resolve));
    // Without a listener of its own the request's error would end the process.
    expect(outgoing.listenerCount("error")).toBe(1);
    outgoing.destroy();
    await closed;
    expect(fixture.upstream.requests).toEqual([]);
  },
);

const ADMITTED: Admitted = {
  principal: {
    issuer: "https://issuer.example",
    subject: "alice",
    username: "alice",
    groups: [],
    extra: {},
    expiresAt: new Date(Date.now() + 60_000),
    claims: {},
  },
  fault: () => undefined,
  framing: { kind: "none" },
  upgrade: "websocket",
  headers: () => ["Host", "a", "Connection", "Upgrade", "Upgrade", "websocket"],
  leave: () => undefined,
};

test("an upgrade whose caller left while they were checked is never sent, and has its line in the log", async () => {
  await using fixture = await createFixture();
  const log = createMemoryLogger();
  const metrics = createProxyMetrics(createMetrics({ service: "auth-proxy" }));
  const account: ServiceAccount = {
    token: () => "own",
    ca: () => fixture.upstreamCa,
    refused: async () => false,
    untrusted: async () => false,
    keep: async () => undefined,
  };
  const apiserver: ApiserverClient = {
    get: async () => expect.fail("nothing is asked"),
    create: async () => expect.fail("nothing is made"),
  };
  const underWay = createUnderWay();
  const server = createServer();
  onTestFinished(() => void server.close());
  server.on("upgrade", (request, client, head) => {
    const gone = new AbortController();
    const deps = {
      admit: async (): Promise<Admitted> => {
        gone.abort();
        return ADMITTED;
      },
      requestLog: createRequestLog({ log, metrics, now: Date.now, newAuditId: () => "audit-1" }),
      underWay,
      longStreams: { onExpiry: "end", maximumSeconds: 60 } as const,
      upstream: upstreamOf(fixture),
      account,
      apiserver,
      clock: SYSTEM_CLOCK,
    };
    void proxyUpgrade(request, client, head, { origin: {}, gone: gone.signal }, deps);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const caller = connect(port, "127.0.0.1");
  onTestFinished(() => void caller.destroy());
  caller.resume().write(requestText("GET /exec HTTP/1.1", ["Host: a", "Connection: Upgrade", "Upgrade: websocket"]));
  expect(await log.once("request")).toMatchObject({ auditId: "audit-1", code: "CC_CANCELLED" });
  expect(fixture.upstream.requests).toEqual([]);
  expect(underWay.size()).toBe(0);
});
