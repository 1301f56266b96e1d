import { expect, test } from "vitest";
import { ALICE, createFixture, OWN_TOKEN } from "../support/fixture.ts";
import { requestText, sendRaw } from "../support/raw-client.ts";
import { valuesOf } from "../support/recording-upstream.ts";

test("one line says who did what to what, under the Audit-ID that the apiserver got", async () => {
  await using fixture = await createFixture();
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  await sendRaw(fixture.target, requestText("GET /api/v1/namespaces/shop/pods/web-0/log HTTP/1.1", lines), {
    address: [203, 0, 113, 9],
    sessionId: "session-1",
    correlationId: "00112233445566778899aabb",
    username: "alice at the relay",
  });
  expect(await fixture.log.once("request")).toMatchObject({
    auditId: valuesOf(fixture.upstream.requests[0], "audit-id")[0],
    correlationId: "00112233445566778899aabb",
    sessionId: "session-1",
    address: "203.0.113.9",
    username: ALICE,
    issuer: fixture.issuer.url,
    relayUsername: "alice at the relay",
    verb: "get",
    resource: "pods",
    namespace: "shop",
    name: "web-0",
    subresource: "log",
    decision: "allowed",
    status: 200,
    bytes: 2,
    ms: expect.any(Number),
  });
});

test("a refusal's line has the code and the reason", async () => {
  await using fixture = await createFixture();
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token({ aud: "other" })}`];
  await sendRaw(fixture.target, requestText("GET /api HTTP/1.1", lines));
  expect(await fixture.log.once("request")).toMatchObject({
    decision: "denied",
    status: 401,
    code: "CC_TOKEN_AUDIENCE",
  });
});

test("neither log nor metrics nor answers ever hold a token, a header's value, a query or a body", async () => {
  await using fixture = await createFixture();
  const secrets = ["s3cret-header", "s3cret-query", "s3cret-body", "s3cret-as", "s3cret-cookie"];
  const [header, query, body, as, cookie] = secrets;
  const tokens = [
    await fixture.token(),
    await fixture.token({ exp: 1 }),
    await fixture.token({ aud: "x" }),
    `${await fixture.token()}x`,
    "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.",
    "s3cret-opaque",
  ];
  const answers: string[] = [];
  for (const token of tokens) {
    for (const more of [[], [`Impersonate-User: ${as}`], ["Content-Length: 1"]]) {
      const lines = ["Host: a", `Authorization: Bearer ${token}`, `X-A: ${header}`, `Cookie: ${cookie}`];
      const framing = more.length === 1 && more[0]?.startsWith("Content") ? [] : [`Content-Length: ${body?.length}`];
      const text = requestText(`POST /api/v1/pods?token=${query} HTTP/1.1`, [...lines, ...framing, ...more], body);
      const answer = await sendRaw(fixture.target, text);
      answers.push(answer.head, answer.body);
    }
  }
  const seen = JSON.stringify(fixture.log.lines) + (await fixture.metrics.text()) + answers.join();
  for (const secret of [...secrets, ...tokens, OWN_TOKEN]) expect(seen).not.toContain(secret);
  for (const token of tokens) {
    for (const part of token.split(".").filter((text) => text.length > 20)) expect(seen).not.toContain(part);
  }
});
