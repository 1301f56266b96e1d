import { generateKeyPairSync, sign } from "node:crypto";
import { generateAgentKey } from "@cluster-connect/auth";
import { describe, expect, test, vi } from "vitest";
import { verifyAudit } from "../../src/audit/verify.ts";
import { makeEnrollmentCode } from "../../src/commands/enroll.ts";
import { ask } from "../support/admin.ts";
import { dialAgent, enrollAgent, PROD, pem, postEnroll, startFixture } from "../support/fixture.ts";

const items = (body: Readonly<Record<string, unknown>>): readonly Record<string, unknown>[] =>
  Array.isArray(body["items"]) ? body["items"] : [];

describe("clusters", () => {
  test("are made in advance, labelled, enrolled, seen connected, and disabled", async () => {
    const fixture = await startFixture();
    const made = await ask(fixture, "POST", "/v1/admin/clusters", { body: { id: "prod", labels: { env: "prod" } } });
    expect(made).toMatchObject({ status: 200, body: { id: "prod", labels: { env: "prod" }, status: "Expired" } });
    const code = await ask(fixture, "POST", "/v1/admin/codes", { body: { cluster: "prod" } });
    expect(await ask(fixture, "GET", "/v1/admin/clusters/prod")).toMatchObject({ body: { status: "Offline" } });
    const body = {
      code: code.body["code"],
      publicKey: generateAgentKey().publicKey,
      clusterAuthorities: pem("authority"),
    };
    expect((await postEnroll(fixture, body)).status).toBe(200);
    const session = await dialAgent(fixture, await enrollAgent(fixture));
    await session.ready;
    await vi.waitFor(
      async () => {
        const { body: cluster } = await ask(fixture, "GET", "/v1/admin/clusters/prod");
        expect(cluster).toMatchObject({ status: "Connected", lastSeenSeconds: 0, validKeys: 2 });
        expect(cluster["agents"]).toHaveLength(1);
      },
      { timeout: 30_000 },
    );
    const patched = await ask(fixture, "PATCH", "/v1/admin/clusters/prod", { body: { disabled: true } });
    expect(patched).toMatchObject({ status: 200, body: { disabled: true, labels: { env: "prod" } } });
    expect(await session.closed).toMatchObject({ code: "CC_AGENT_KEY_REFUSED" });
    const enabled = await ask(fixture, "PATCH", "/v1/admin/clusters/prod", { body: { disabled: false, labels: {} } });
    expect(enabled).toMatchObject({ body: { disabled: false, labels: {} } });
  });

  test("hand on what a fleet key signed of their authority, as an administrator gives it", async () => {
    const fixture = await startFixture();
    await enrollAgent(fixture);
    const { privateKey } = generateKeyPairSync("ed25519");
    const signature = sign(null, Buffer.from("a statement"), privateKey).toString("base64url");
    const path = "/v1/admin/clusters/prod";
    const body = { authoritySignatures: signature };
    const handedOn = async (): Promise<unknown> => {
      const { body } = await ask(fixture, "GET", "/v1/clusters", { as: "ops" });
      return Object(body["clusters"])[0].authoritySignatures;
    };
    expect(await ask(fixture, "PATCH", path, { as: "ops", body })).toMatchObject({
      status: 403,
      body: { code: "CC_ADMIN_REQUIRED" },
    });
    expect(await handedOn()).toBe(null);
    expect(await ask(fixture, "PATCH", path, { body })).toMatchObject({ status: 200, body: { id: "prod" } });
    expect(await handedOn()).toBe(signature);
    const audit = await ask(fixture, "GET", "/v1/admin/audit?event=cluster.changed");
    expect(items(audit.body)).toMatchObject([{ actor: { username: "root" }, cluster: "prod", detail: body }]);
    // Labels alone leave it.
    await ask(fixture, "PATCH", path, { body: { labels: { env: "prod" } } });
    expect(await handedOn()).toBe(signature);
    const eight = Array.from({ length: 8 }, () => signature).join(" ");
    expect(await ask(fixture, "PATCH", path, { body: { authoritySignatures: eight } })).toMatchObject({ status: 200 });
    const rsa = sign(null, Buffer.from("a statement"), generateKeyPairSync("rsa", { modulusLength: 2_048 }).privateKey);
    const bad = [`${eight} ${signature}`, rsa.toString("base64url"), `${signature} `, "\u001b[2J", ""];
    for (const authoritySignatures of bad) {
      const refused = await ask(fixture, "PATCH", path, { body: { authoritySignatures } });
      expect(refused).toMatchObject({ status: 400, body: { message: expect.stringContaining("authoritySignatures") } });
    }
    expect(await handedOn()).toBe(eight);
  });

  test("that are removed are gone with their keys, and their tunnels end", async () => {
    const fixture = await startFixture();
    const session = await dialAgent(fixture, await enrollAgent(fixture));
    await session.ready;
    expect(await ask(fixture, "DELETE", "/v1/admin/clusters/prod", { as: "jane" })).toMatchObject({ status: 403 });
    const removed = await ask(fixture, "DELETE", "/v1/admin/clusters/prod");
    expect(removed).toEqual({ status: 200, body: { done: true, keys: 1, codes: 1 } });
    expect(await session.closed).toMatchObject({ code: "CC_AGENT_KEY_REFUSED" });
    expect(items((await ask(fixture, "GET", "/v1/admin/clusters")).body)).toEqual([]);
    expect(items((await ask(fixture, "GET", "/v1/admin/keys")).body)).toEqual([]);
    const { body } = await ask(fixture, "GET", "/v1/admin/audit?event=cluster.removed");
    expect(items(body)).toMatchObject([
      { actor: { username: "root", subject: "root", issuer: fixture.issuer.url }, cluster: "prod" },
    ]);
  });

  test("that are not there are said so", async () => {
    const fixture = await startFixture();
    for (const method of ["GET", "PATCH", "DELETE"]) {
      const body = method === "PATCH" ? {} : undefined;
      expect(await ask(fixture, method, "/v1/admin/clusters/nope", { body })).toMatchObject({
        status: 404,
        body: { code: "CC_CLUSTER_UNKNOWN" },
      });
    }
  });

  test("are listed in pages", async () => {
    const fixture = await startFixture();
    for (const id of ["a", "b", "c"]) await ask(fixture, "POST", "/v1/admin/clusters", { body: { id } });
    const first = await ask(fixture, "GET", "/v1/admin/clusters?limit=2");
    expect([items(first.body).map(({ id }) => id), first.body["next"]]).toEqual([["a", "b"], "b"]);
    const second = await ask(fixture, "GET", "/v1/admin/clusters?limit=2&after=b");
    expect([items(second.body).map(({ id }) => id), second.body["next"]]).toEqual([["c"], null]);
    expect(await ask(fixture, "GET", "/v1/admin/clusters?limit=0")).toMatchObject({ status: 400 });
  });
});

describe("keys and codes", () => {
  test("a code of the API and one of the command leave the same entry in the audit", async () => {
    const fixture = await startFixture();
    const { body: made } = await ask(fixture, "POST", "/v1/admin/codes", { body: { cluster: "prod", maxUses: 3 } });
    const options = { clusterId: PROD, expiresMs: 60_000, maxUses: 3, output: "json" } as const;
    await makeEnrollmentCode(fixture.store, options, new Date());
    const { body } = await ask(fixture, "GET", "/v1/admin/audit?event=enrollment.code.made");
    const entry = {
      cluster: "prod",
      detail: { codeId: expect.any(String), expiresAt: expect.any(String), maxUses: 3 },
    };
    expect(body["items"]).toMatchObject([
      { ...entry, actor: { username: "operator", issuer: null, subject: null } },
      {
        ...entry,
        actor: { username: "root" },
        detail: { codeId: made["id"], expiresAt: made["expiresAt"], maxUses: 3 },
      },
    ]);
  });

  test("a key made elsewhere is known once, and worthless once revoked", async () => {
    const fixture = await startFixture();
    const key = generateAgentKey();
    const add = () => ask(fixture, "POST", "/v1/admin/keys", { body: { cluster: "prod", publicKey: key.publicKey } });
    expect(await add()).toMatchObject({ status: 404 });
    await ask(fixture, "POST", "/v1/admin/clusters", { body: { id: "prod" } });
    expect(await add()).toMatchObject({ status: 200, body: { id: key.keyId, addedBy: "root" } });
    expect(await add()).toMatchObject({ status: 403, body: { code: "CC_AGENT_KEY_REFUSED" } });
    const session = await dialAgent(fixture, { instanceId: (await enrollAgent(fixture)).instanceId, key });
    await session.ready;
    expect(await ask(fixture, "DELETE", `/v1/admin/keys/${key.keyId}`)).toMatchObject({ status: 200 });
    expect(await session.closed).toMatchObject({ code: "CC_AGENT_KEY_REFUSED" });
    expect(await ask(fixture, "DELETE", `/v1/admin/keys/${key.keyId}`)).toMatchObject({ status: 400 });
    const { body } = await ask(fixture, "GET", "/v1/admin/keys?cluster=prod");
    expect(items(body).find(({ id }) => id === key.keyId)).toMatchObject({ revokedAt: expect.any(String) });
  });

  test("a code is shown once, counted, and worthless once revoked", async () => {
    const fixture = await startFixture();
    const { body: made } = await ask(fixture, "POST", "/v1/admin/codes", { body: { cluster: "prod", maxUses: 3 } });
    const { code, id } = made;
    const use = () =>
      postEnroll(fixture, { code, publicKey: generateAgentKey().publicKey, clusterAuthorities: pem("authority") });
    expect((await use()).status).toBe(200);
    const { body: listed } = await ask(fixture, "GET", "/v1/admin/codes");
    expect(JSON.stringify(listed)).not.toContain(code);
    expect(items(listed)).toMatchObject([{ id, uses: 1, maxUses: 3, createdBy: "root" }]);
    expect(await ask(fixture, "DELETE", `/v1/admin/codes/${id}`)).toMatchObject({ status: 200 });
    expect((await use()).status).toBe(403);
    expect(await ask(fixture, "DELETE", `/v1/admin/codes/${id}`)).toMatchObject({ status: 400 });
    expect(JSON.stringify(fixture.log.lines)).not.toContain(code);
  });
});

describe("grants", () => {
  test("are added, explained to administrators and callers, and removed", async () => {
    const fixture = await startFixture({ grants: [{ clusters: ["*"], users: ["root"] }] });
    await enrollAgent(fixture);
    const check = async (username: string) => {
      const body = { cluster: PROD, caller: { username } };
      return (await ask(fixture, "POST", "/v1/admin/grants/check", { body })).body;
    };
    const access = async () => (await ask(fixture, "GET", "/v1/access?cluster=prod", { as: "jane" })).body;
    expect(await check("root")).toMatchObject({ allowed: true, grant: "config/0", reason: "granted to user root" });
    expect(await access()).toMatchObject({ allowed: false, near: [] });
    const expired = { clusters: ["prod"], users: ["jane"], expiresAt: "2020-01-01T00:00:00Z" };
    await ask(fixture, "POST", "/v1/admin/grants", { body: expired });
    expect(await access()).toMatchObject({
      allowed: false,
      reason: "the grant has expired",
      near: [{ lack: "expired" }],
    });
    const added = await ask(fixture, "POST", "/v1/admin/grants", { body: { clusterSelector: "!x", users: ["jane"] } });
    const { id } = added.body;
    expect(added).toMatchObject({ status: 200, body: { source: "api", clusterSelector: "!x" } });
    expect(await access()).toMatchObject({ allowed: true, grant: id });
    const { body: listed } = await ask(fixture, "GET", "/v1/admin/grants");
    expect(items(listed).map(({ source }) => source)).toEqual(["api", "api", "config"]);
    const path = `/v1/admin/grants/${encodeURIComponent(String(id))}`;
    expect(await ask(fixture, "DELETE", path)).toMatchObject({ status: 200 });
    expect(await ask(fixture, "DELETE", path)).toMatchObject({ status: 400, body: { code: "CC_ID_INVALID" } });
    expect(await access()).toMatchObject({ allowed: false });
    expect(await ask(fixture, "DELETE", "/v1/admin/grants/config%2F0")).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining("settings") },
    });
  });
});

test("every change is in the audit, by whom, newest first and in pages", async () => {
  const fixture = await startFixture();
  await ask(fixture, "POST", "/v1/admin/clusters", { body: { id: "prod" } });
  await ask(fixture, "PATCH", "/v1/admin/clusters/prod", { body: { labels: { a: "b" } } });
  await ask(fixture, "POST", "/v1/admin/grants", { body: { clusters: ["*"], users: ["jane"] } });
  const first = await ask(fixture, "GET", "/v1/admin/audit?limit=2&actor=root");
  expect(items(first.body)).toMatchObject([
    { event: "grant.added", actor: { username: "root" } },
    { event: "cluster.changed", actor: { username: "root" } },
  ]);
  for (const [name, count] of [
    ["subject=root", 3],
    ["subject=jane", 0],
    ["issuer=https://other.test", 0],
  ] as const) {
    expect(items((await ask(fixture, "GET", `/v1/admin/audit?${name}`)).body)).toHaveLength(count);
  }
  const rest = await ask(fixture, "GET", `/v1/admin/audit?event=cluster.made&before=${first.body["next"]}`);
  expect(items(rest.body)).toMatchObject([{ event: "cluster.made", cluster: "prod", detail: { labels: {} } }]);
  expect(rest.body["next"]).toBeNull();
  expect(await verifyAudit(fixture.store.db)).toMatchObject({ ok: true });
});

test("changes of a cluster's state come as server-sent events", async () => {
  const fixture = await startFixture();
  const agent = await enrollAgent(fixture);
  const token = await fixture.issuer.sign({ aud: "https://relay.test", sub: "root" });
  const stop = new AbortController();
  const response = await fetch(new URL("/v1/admin/events", fixture.url), {
    headers: { authorization: `Bearer ${token}` },
    signal: stop.signal,
  });
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  const session = await dialAgent(fixture, agent);
  await session.ready;
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.includes('"connected"')) break;
  }
  stop.abort();
  expect(text).toMatch(
    /^: listening\n\nid: (prod\/\d+)\nevent: status\ndata: \{"id":"\1",.*"clusterId":"prod","status":"con/,
  );
});
