import { expect, test } from "vitest";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { type RawAnswer, requestText, sendRaw } from "../support/raw-client.ts";

/** The stream that is kept from a first request is closed by the apiserver when the next one has reached it. */
async function sendOnStaleStream(fixture: Fixture, method: string): Promise<RawAnswer> {
  const usualAnswer = fixture.upstream.answer;
  const headers = ["Host: a", `Authorization: Bearer ${await fixture.token()}`, "Content-Length: 2"];
  await sendRaw(fixture.target, requestText("GET /warm HTTP/1.1", headers.slice(0, 2)));
  fixture.upstream.requests.splice(0);
  fixture.upstream.answer = (request) => {
    fixture.upstream.answer = usualAnswer;
    request.socket.destroy();
  };
  return sendRaw(fixture.target, requestText(`${method} /api/v1/namespaces/a/pods HTTP/1.1`, headers, "{}"));
}

test.each(["POST", "PUT", "PATCH", "DELETE"])(
  "a %s on a stream that was closed under it is not repeated",
  async (method) => {
    await using fixture = await createFixture();
    const answer = await sendOnStaleStream(fixture, method);
    expect(answer.status).toBe(503);
    expect(fixture.upstream.requests.map((recorded) => recorded.method)).toEqual([method]);
  },
);

test.each(["GET", "OPTIONS"])("a %s on a stream that was closed under it is repeated", async (method) => {
  await using fixture = await createFixture();
  const answer = await sendOnStaleStream(fixture, method);
  expect(answer.status).toBe(200);
  expect(fixture.upstream.requests.map((recorded) => recorded.method)).toEqual([method, method]);
});
