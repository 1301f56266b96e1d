import { once } from "node:events";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { expect, test } from "vitest";
import { BODY_IDLE_MS, UNREAD_MS } from "../../src/limits/limits.ts";
import { createFixture } from "../support/fixture.ts";
import { openStream, readAnswer, requestText } from "../support/raw-client.ts";

/** Real time that a test may put forward. */
function shiftedClock(): typeof SYSTEM_CLOCK & { shiftMs: number } {
  const clock = { ...SYSTEM_CLOCK, shiftMs: 0, now: () => Date.now() + clock.shiftMs };
  return clock;
}

test.each([
  ["small", 100],
  ["large", 10_000_000],
])("a %s body that does not go on is given up", async (_what, bytes) => {
  const clock = shiftedClock();
  await using fixture = await createFixture({ clock });
  const stream = await openStream(fixture.target);
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`, `Content-Length: ${bytes}`];
  stream.write(`${requestText("POST /api/v1/namespaces HTTP/1.1", lines)}{`);
  await expect.poll(() => fixture.app.counts().underWay).toBe(1);
  clock.shiftMs = BODY_IDLE_MS + 1_000;
  const answer = await readAnswer(stream);
  expect(answer.status).toBe(504);
  expect(answer.body).toContain("body has not gone on");
  await expect.poll(() => fixture.app.counts().underWay).toBe(0);
});

test("an answer that nobody reads is given up", async () => {
  const clock = shiftedClock();
  await using fixture = await createFixture({
    clock,
    prepare: (upstream) => {
      upstream.answer = (_request, response) => {
        response.writeHead(200);
        const more = (): void => {
          while (response.write(Buffer.alloc(65_536)));
          response.once("drain", more);
        };
        more();
      };
    },
  });
  const stream = await openStream(fixture.target);
  const token = await fixture.token({ exp: Math.floor(Date.now() / 1_000) + 86_400 });
  stream.write(requestText("GET /api/v1/pods HTTP/1.1", ["Host: a", `Authorization: Bearer ${token}`]));
  await once(stream, "readable");
  await expect.poll(() => fixture.app.counts().underWay).toBe(1);
  await expect
    .poll(
      () => {
        clock.shiftMs += UNREAD_MS;
        return fixture.app.counts().underWay;
      },
      { timeout: 10_000, interval: 1_500 },
    )
    .toBe(0);
  expect(await fixture.log.once("request")).toMatchObject({ code: "CC_TIMEOUT" });
  stream.destroy();
});

test("ready is what the apiserver says when it is asked", async () => {
  await using fixture = await createFixture();
  let status = 200;
  fixture.upstream.answer = (_request, response) => response.writeHead(status, { "Content-Length": "0" }).end();
  expect(await fixture.health.ready()).toMatchObject({ ok: true });
  status = 500;
  // An answer is kept for a second.
  await expect
    .poll(() => fixture.health.ready())
    .toMatchObject({ ok: false, checks: [{ name: "apiserver", ok: false }] });
  expect(fixture.upstream.requests.map(({ target }) => target)).toEqual(["/readyz", "/readyz"]);
  status = 200;
  await expect.poll(() => fixture.health.ready()).toMatchObject({ ok: true });
  await fixture.upstream[Symbol.asyncDispose]();
  await expect.poll(() => fixture.health.ready()).toMatchObject({ ok: false });
});
