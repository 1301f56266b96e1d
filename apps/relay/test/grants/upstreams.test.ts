import { text } from "node:stream/consumers";
import { createResumeRegistry, createStreamOpener, type IncomingStream } from "@cluster-connect/framing";
import { toConnectError } from "@cluster-connect/protocol";
import { expect, onTestFinished, test, vi } from "vitest";
import { ask } from "../support/admin.ts";
import {
  dialAgent,
  dialCli,
  enrollAgent,
  type Fixture,
  openRequest,
  opsToken,
  PROD,
  startFixture,
} from "../support/fixture.ts";

const NO_END = new AbortController().signal;

async function connected(fixture: Fixture) {
  const agent = await enrollAgent(fixture);
  const tunnel = await dialAgent(fixture, agent);
  await tunnel.ready;
  await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
  const session = await dialCli(fixture, await opsToken(fixture));
  await session.ready;
  return { session };
}

const refusedUpstream = (name: string) => ({
  code: "CC_GRANT_MISSING",
  message: `No grant of yours names the upstream ${name} of cluster prod`,
});

test("without a grant that names it an upstream is refused, and the apiserver and the probe are not", async () => {
  const fixture = await startFixture();
  const { session } = await connected(fixture);
  await expect(session.open(openRequest({ upstream: "db" })).accepted).rejects.toMatchObject(refusedUpstream("db"));
  await session.open(openRequest()).accepted;
  await session.open(openRequest({ upstream: "probe" })).accepted;
});

test("a grant of the settings opens exactly the upstreams that it names", async () => {
  const grants = [{ clusters: ["prod"], groups: ["ops"], upstreams: ["db"] }];
  const { session } = await connected(await startFixture({ grants }));
  await session.open(openRequest({ upstream: "db" })).accepted;
  for (const upstream of ["kubernetes", "db2"]) {
    const { accepted } = session.open(openRequest({ upstream }));
    await expect(accepted).rejects.toMatchObject(refusedUpstream(upstream));
  }
});

test("a grant of the API opens an upstream, and its end ends the streams to it alone", async () => {
  const fixture = await startFixture();
  const { session } = await connected(fixture);
  const body = { clusters: ["prod"], users: ["jane"], upstreams: ["db"] };
  const added = await ask(fixture, "POST", "/v1/admin/grants", { body });
  expect(added).toMatchObject({ status: 200, body: { upstreams: ["db"] } });
  const [db, apiserver] = [session.open(openRequest({ upstream: "db" })), session.open(openRequest())];
  await Promise.all([db.accepted, apiserver.accepted]);
  const ended = new Promise((resolve) => db.once("error", resolve));
  await ask(fixture, "DELETE", `/v1/admin/grants/${encodeURIComponent(String(added.body["id"]))}`);
  expect(await ended).toMatchObject({ code: "CC_GRANT_MISSING" });
  expect(apiserver.destroyed).toBe(false);
});

test("a caller is told of an upstream by its grant alone, and not of those that others are granted", async () => {
  const grants = [
    { clusters: ["prod"], users: ["jane"], upstreams: ["db"] },
    { clusters: ["prod"], users: ["joe"], upstreams: ["secret-db"] },
  ];
  const fixture = await startFixture({ grants });
  await connected(fixture);
  const access = async (upstream: string, as = "jane") =>
    (await ask(fixture, "GET", `/v1/access?cluster=prod&upstream=${upstream}`, { as })).body;
  expect(await access("db")).toMatchObject({ allowed: true, grant: "config/0" });
  const refused = await access("secret-db");
  expect(refused).toMatchObject({ allowed: false, grant: null });
  expect(JSON.stringify(refused)).not.toContain("config/1");
  expect((await ask(fixture, "GET", "/v1/access?cluster=prod", { as: "jane" })).body).toMatchObject({ allowed: false });
  const listed = JSON.stringify((await ask(fixture, "GET", "/v1/clusters", { as: "jane" })).body);
  expect(listed).toContain('"id":"prod"');
  expect(listed).not.toMatch(/db|upstream/);
  expect(JSON.stringify((await ask(fixture, "GET", "/v1/clusters", { as: "mallory" })).body)).not.toContain("prod");
  const caller = { username: "joe", groups: [] };
  const body = { cluster: "prod", upstream: "secret-db", caller };
  expect((await ask(fixture, "POST", "/v1/admin/grants/check", { body })).body).toMatchObject({ grant: "config/1" });
});

test.each([
  ["goes on over a restarted relay where it is granted still", ["db"]],
  ["ends where it is not any more, though the apiserver is", ["kubernetes"]],
])("a stream to an upstream %s", async (_what, upstreams) => {
  const grant = { clusters: ["prod"], groups: ["ops"] };
  const before = await startFixture({ grants: [{ ...grant, upstreams: ["db"] }] });
  const agent = await enrollAgent(before);
  const registry = createResumeRegistry();
  onTestFinished(() => registry.close());
  const onStream = (incoming: IncomingStream): void => {
    const stream = registry.answer(incoming, { instanceId: agent.instanceId, graceMs: 30_000 });
    stream?.pipe(stream);
  };
  await (await dialAgent(before, agent, { onStream })).ready;
  const opener = createStreamOpener();
  opener.use(await dialCli(before, await opsToken(before)));
  const stream = await opener.open(openRequest({ upstream: "db" }), { signal: NO_END });
  await stream.accepted;
  await before.stop();
  const after = await startFixture({ after: before, grants: [{ ...grant, upstreams }] });
  await (await dialAgent(after, agent, { onStream })).ready;
  stream.end("hello");
  const said = text(stream).catch((error: unknown) => toConnectError(error).code);
  opener.use(await dialCli(after, await opsToken(after)));
  expect(await said).toBe(upstreams.includes("db") ? "hello" : "CC_GRANT_MISSING");
});
