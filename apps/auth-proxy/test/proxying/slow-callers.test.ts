import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HANDSHAKE_TIMEOUT_MS, HEADERS_CHECK_MS, HEADERS_TIMEOUT_MS } from "../../src/limits/limits.ts";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { buildProxyHeader } from "../support/proxy-header.ts";
import { openStream, readAnswer } from "../support/raw-client.ts";

let fixture: Fixture;
/** A busy machine is late. */
const BUSY_MS = 20_000;

beforeAll(async () => {
  fixture = await createFixture();
});
afterAll(() => fixture?.[Symbol.asyncDispose]());

test.concurrent("a head that comes too slowly is answered with 408 and the stream closed", async () => {
  const stream = await openStream(fixture.target);
  const startedAt = Date.now();
  stream.write("GET /api HTTP/1.1\r\nHost: a\r\n");
  const answer = await readAnswer(stream);
  expect(answer.status).toBe(408);
  expect(JSON.parse(answer.body)).toMatchObject({ kind: "Status", reason: "Timeout" });
  const took = Date.now() - startedAt;
  expect(took).toBeGreaterThan(HEADERS_TIMEOUT_MS - 100);
  expect(took).toBeLessThan(HEADERS_TIMEOUT_MS + 2 * HEADERS_CHECK_MS + BUSY_MS);
});

test.concurrent("a stream that does not begin TLS is closed in time", async () => {
  const socket = connect(fixture.target.port, "127.0.0.1");
  const startedAt = Date.now();
  socket.write(buildProxyHeader());
  socket.resume();
  await once(socket, "close");
  expect(Date.now() - startedAt).toBeLessThan(HANDSHAKE_TIMEOUT_MS + BUSY_MS);
});
