import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { openStream, requestText, sendRaw } from "../support/raw-client.ts";
import { valuesOf } from "../support/recording-upstream.ts";
import { attack, expectOurIdentity, expectRefused, WAYS } from "./harness.ts";

let fixture: Fixture;
let usualAnswer: Fixture["upstream"]["answer"];
beforeAll(async () => {
  fixture = await createFixture();
  usualAnswer = fixture.upstream.answer;
});
afterAll(() => fixture?.[Symbol.asyncDispose]());
beforeEach(() => {
  fixture.upstream.requests.splice(0);
  fixture.upstream.answer = usualAnswer;
});

describe.each(WAYS)("over %s", (way) => {
  test("CVE-2021-31999: Connection cannot name our identity away", async () => {
    const names = "Impersonate-User, Impersonate-Group, Impersonate-Uid, Authorization, Audit-ID, Host";
    await attack(fixture, way, { headers: [`Connection: ${names}, Impersonate-Extra-connect.example.org%2Fissuer`] });
    expectOurIdentity(fixture);
  });

  test.each([
    "Impersonate-User: system:admin",
    "Impersonate-Group: system:masters",
    "impersonate-uid: 0",
    "IMPERSONATE-USER: system:admin",
    "Impersonate-Extra-Scopes: all",
    "Impersonate-Extra-connect.example.org%2Fissuer: other",
  ])("CVE-2021-36776: a caller cannot bring an identity: %s", async (header) => {
    expectRefused(fixture, await attack(fixture, way, { headers: [header] }), 403);
  });

  test("CVE-2026-17107: a caller's group is never added to ours", async () => {
    expectRefused(fixture, await attack(fixture, way, { headers: ["Impersonate-Group: system:masters"] }), 403);
  });

  test("CVE-2026-61682: front-proxy identity headers do not pass", async () => {
    const headers = [
      "X-Remote-User: root",
      "X-Remote-Group: system:masters",
      "X-Remote-Extra-Warrant: x",
      "X-Remote-Uid: 1",
    ];
    await attack(fixture, way, { headers });
    expectOurIdentity(fixture);
  });

  test("CVE-2023-7045: a cookie is no credential, and passes to applications as it does without us", async () => {
    await attack(fixture, way, { headers: ['Cookie: session=1; a="b"', "Origin: https://evil.example"] });
    expect(valuesOf(expectOurIdentity(fixture), "cookie")).toEqual(['session=1; a="b"']);
    fixture.upstream.requests.splice(0);
    const lines = ["Host: localhost", "Cookie: token=1", "Origin: https://evil.example"];
    const upgrade = way === "upgrade" ? ["Connection: Upgrade", "Upgrade: websocket"] : [];
    const answer = await sendRaw(fixture.target, requestText("GET / HTTP/1.1", [...lines, ...upgrade]));
    expectRefused(fixture, answer, 401);
  });

  test("CVE-2022-3172: a redirect is passed on and never followed", async () => {
    const elsewhere = `${fixture.upstream.url}/stolen`;
    fixture.upstream.answer = (_request, response) => response.writeHead(307, { Location: elsewhere }).end();
    fixture.upstream.answerUpgrade = (_request, socket) =>
      socket.end(`HTTP/1.1 307 Temporary Redirect\r\nLocation: ${elsewhere}\r\nContent-Length: 0\r\n\r\n`);
    const answer = await attack(fixture, way, { headers: [] });
    expect(answer.status).toBe(307);
    expectOurIdentity(fixture);
  });
});

test("CVE-2018-1002105: after a refused upgrade the caller's bytes go nowhere and the stream is closed", async () => {
  let after = "";
  fixture.upstream.answerUpgrade = (_request, socket, head) => {
    after += head.toString("latin1");
    socket.on("data", (chunk: Buffer) => {
      after += chunk.toString("latin1");
    });
    socket.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno!");
  };
  const stream = await openStream(fixture.target);
  const smuggled = requestText("GET /api/v1/secrets HTTP/1.1", ["Host: x", "Impersonate-User: system:admin"]);
  const lines = [
    "Host: localhost",
    `Authorization: Bearer ${await fixture.token()}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
  ];
  stream.write(requestText("GET /api/v1/namespaces/a/pods/b/exec HTTP/1.1", lines) + smuggled);
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    if (!stream.writableEnded) stream.write(smuggled);
  });
  await once(stream, "close");
  expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect(text).toContain("no!");
  expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  expect(after).toBe("");
  expect(fixture.upstream.requests).toHaveLength(1);
});

test("CVE-2018-1002105: bytes sent ahead of the 101 are held back until it comes", async () => {
  const gate = Promise.withResolvers<void>();
  let early = "";
  fixture.upstream.answerUpgrade = (request, socket, head) => {
    early += head.toString("latin1");
    const onEarly = (chunk: Buffer): void => {
      early += chunk.toString("latin1");
    };
    socket.on("data", onEarly);
    void gate.promise.then(() => {
      socket.off("data", onEarly);
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\n`,
      );
      socket.on("data", (chunk: Buffer) => socket.end(chunk));
    });
  };
  const stream = await openStream(fixture.target);
  const lines = [
    "Host: localhost",
    `Authorization: Bearer ${await fixture.token()}`,
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
  ];
  stream.write(
    `${requestText("POST /api/v1/namespaces/a/pods/b/exec HTTP/1.1", [...lines, "Content-Length: 0"])}ahead`,
  );
  await expect.poll(() => fixture.upstream.requests.length).toBe(1);
  expect(early).toBe("");
  gate.resolve();
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await once(stream, "close");
  expect(early).toBe("");
  expect(text).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
  expect(text.endsWith("\r\n\r\nahead")).toBe(true);
});
