import { expect, test } from "vitest";
import { z } from "zod";
import { ask } from "../support/admin.ts";
import { type Fixture, startFixture } from "../support/fixture.ts";

const DOCUMENT = z.object({
  openapi: z.string(),
  paths: z.record(z.string(), z.record(z.string(), z.looseObject({ "x-access": z.string(), summary: z.string() }))),
});

async function publishedRoutes(fixture: Fixture) {
  const { status, body } = await ask(fixture, "GET", "/v1/openapi.json", { as: undefined });
  expect(status).toBe(200);
  return Object.entries(DOCUMENT.parse(body).paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path: path.replaceAll(/\{[a-z]+\}/g, "some-thing"),
      access: operation["x-access"],
      summary: operation.summary,
    })),
  );
}

test("the published document is the one in docs/openapi.json", async () => {
  const fixture = await startFixture();
  const { body } = await ask(fixture, "GET", "/v1/openapi.json", { as: undefined });
  await expect(`${JSON.stringify(body, undefined, 2)}\n`).toMatchFileSnapshot("../../../../docs/openapi.json");
});

test("every route but the public ones asks who is calling, before it looks at anything else", async () => {
  const fixture = await startFixture();
  const routes = await publishedRoutes(fixture);
  expect(routes.length).toBeGreaterThan(20);
  for (const { method, path, access, summary } of routes) {
    expect(summary).toMatch(/^[A-Z].*\.$/);
    if (access === "public") continue;
    const name = `${method} ${path}`;
    const withoutCredential = await ask(fixture, method, path, { as: undefined, body: bodyFor(method) });
    expect([name, withoutCredential.status, withoutCredential.body["code"]]).toEqual([name, 401, "CC_TOKEN_MISSING"]);
    if (access === "caller") continue;
    const notAdmin = await ask(fixture, method, path, { as: "jane", body: bodyFor(method) });
    expect([name, notAdmin.status, notAdmin.body["code"]]).toEqual([name, 403, "CC_ADMIN_REQUIRED"]);
  }
});

/** Asked by POST, since it is too long for a query; it changes nothing. */
const QUESTION = "/v1/admin/grants/check";

test("an administrator who only looks changes nothing", async () => {
  const admins = [{ groups: ["ops"], access: "read" as const }];
  const fixture = await startFixture({ config: { admins } });
  for (const { method, path, access } of await publishedRoutes(fixture)) {
    if (access === "public" || access === "caller" || path.endsWith("/events")) continue;
    // By the method, not by the route's own word: a change is nobody's who only looks.
    const onlyLooks = method === "GET" || path === QUESTION;
    expect([method, path, access]).toEqual([method, path, onlyLooks ? access : "write"]);
    const { status } = await ask(fixture, method, path, { as: "jane", body: bodyFor(method) });
    if (access === "write") expect([method, path, status]).toEqual([method, path, 403]);
    else expect([method, path, status]).not.toEqual([method, path, 403]);
  }
});

test("a rule for administrators that has expired makes none", async () => {
  const admins = [{ users: ["root"], access: "write" as const, expiresAt: new Date(Date.now() - 1) }];
  const fixture = await startFixture({ config: { admins } });
  expect(await ask(fixture, "GET", "/v1/admin/clusters")).toMatchObject({ status: 403 });
});

test("what is wrong with a request is said in one error, as a problem with a stable code", async () => {
  const fixture = await startFixture();
  const answer = await ask(fixture, "POST", "/v1/admin/codes", { body: { cluster: "Prod", maxUses: 0, hunter: 2 } });
  expect(answer).toEqual({
    status: 400,
    body: {
      type: "urn:cluster-connect:error:CC_REQUEST_REFUSED",
      title: "Bad Request",
      status: 400,
      code: "CC_REQUEST_REFUSED",
      detail: expect.any(String),
      message: expect.stringMatching(/body cluster: .*body maxUses: .*body hunter: /),
      hint: expect.any(String),
    },
  });
});

test("a route that is not there is a problem too", async () => {
  const fixture = await startFixture();
  expect(await ask(fixture, "GET", "/v1/admin/nothing")).toMatchObject({
    status: 404,
    body: { code: "CC_REQUEST_REFUSED", status: 404 },
  });
});

function bodyFor(method: string): unknown {
  return method === "POST" || method === "PATCH" ? { not: "right" } : undefined;
}
