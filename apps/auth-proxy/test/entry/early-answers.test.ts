import { once } from "node:events";
import { PassThrough } from "node:stream";
import type { TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import {
  LARGE_HEADS_PER_CALLER,
  LINGER_QUIET_MS,
  MAX_HEADER_BYTES,
  ORDINARY_HEAD_BYTES,
} from "../../src/limits/limits.ts";
import { linger } from "../../src/proxying/linger.ts";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { openStream, readAnswer, requestText, sendRaw } from "../support/raw-client.ts";
import { steppedClock } from "../support/stepped-clock.ts";

const ROUNDS = 20;
const BODY_BYTES = 8 * 1_048_576;

/** Sends all of a request before it reads a byte, as clients do that are busy writing. */
async function writeThenRead(stream: TLSSocket, head: string, bodyBytes: number): Promise<string> {
  stream.pause();
  stream.write(head, "latin1");
  await new Promise<void>((resolve) => {
    stream.once("close", () => resolve());
    stream.write(Buffer.alloc(bodyBytes, "x"), () => resolve());
  });
  let text = "";
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  stream.resume();
  if (!stream.closed) await once(stream, "close");
  return text;
}

async function upload(fixture: Fixture, token: string): Promise<string> {
  const lines = ["Host: a", `Authorization: Bearer ${token}`, `Content-Length: ${BODY_BYTES}`];
  const head = requestText("POST /api/v1/namespaces/a/configmaps HTTP/1.1", lines);
  return writeThenRead(await openStream(fixture.target), head, BODY_BYTES);
}

test("our own refusal of a large body arrives each time", async () => {
  await using fixture = await createFixture();
  const token = await fixture.token({ aud: "other" });
  for (let round = 0; round < ROUNDS; round += 1) {
    expect(await upload(fixture, token)).toMatch(/^HTTP\/1\.1 401 [\s\S]*CC_TOKEN_AUDIENCE/);
  }
});

test("the apiserver's early answer to a large body arrives each time", async () => {
  await using fixture = await createFixture({
    prepare: (upstream) => {
      upstream.answerEarly = (_request, response) => {
        response.writeHead(413, { "Content-Length": "3", Connection: "close" });
        response.end("big");
      };
    },
  });
  for (let round = 0; round < ROUNDS; round += 1) {
    expect(await upload(fixture, await fixture.token())).toMatch(/^HTTP\/1\.1 413 [\s\S]*\r\n\r\nbig$/);
  }
});

function headOf(bytes: number, lines: readonly string[]): string {
  const rest = requestText("GET /?x= HTTP/1.1", lines).length;
  return requestText(`GET /?x=${"x".repeat(bytes - rest)} HTTP/1.1`, lines);
}

test("a head as long as the apiserver takes passes, and one that is longer gets 431 although it goes on", async () => {
  await using fixture = await createFixture();
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  expect((await sendRaw(fixture.target, headOf(1_048_576, lines))).status).toBe(200);
  expect(fixture.upstream.requests[0]?.target).toHaveLength(headOf(1_048_576, lines).split(" ")[1]?.length ?? 0);
  for (let round = 0; round < ROUNDS; round += 1) {
    const text = await writeThenRead(
      await openStream(fixture.target),
      headOf(MAX_HEADER_BYTES + 100_000, lines),
      500_000,
    );
    expect(text).toMatch(/^HTTP\/1\.1 431 [\s\S]*CC_REQUEST_REFUSED/);
  }
});

test("so many long heads come in at once for one caller of the relay, and others have room", async () => {
  await using fixture = await createFixture();
  const eve = { username: "eve", sessionId: "session-eve" };
  const token = await fixture.token();
  const lines = ["Host: a", `Authorization: Bearer ${token}`];
  const unfinished = headOf(ORDINARY_HEAD_BYTES + 70_000, lines).slice(0, -2);
  const open = await Promise.all(Array.from({ length: LARGE_HEADS_PER_CALLER }, () => openStream(fixture.target, eve)));
  for (const stream of open) await new Promise<void>((resolve) => void stream.write(unfinished, () => resolve()));
  const one = headOf(ORDINARY_HEAD_BYTES + 70_000, lines);
  const answers = async (fields: typeof eve): Promise<number> => (await sendRaw(fixture.target, one, fields)).status;
  await expect.poll(() => answers(eve)).toBe(429);
  expect(await answers({ username: "ann", sessionId: "session-ann" })).toBe(200);
  expect((await sendRaw(fixture.target, headOf(ORDINARY_HEAD_BYTES - 1_000, lines), eve)).status).toBe(200);
  open[0]?.write("\r\n");
  expect(open[0] && (await readAnswer(open[0])).status).toBe(200);
  expect(await answers(eve)).toBe(200);
  for (const stream of open) stream.destroy();
});

test("what comes behind a last answer is taken for a while, and not for ever", async () => {
  const clock = steppedClock(0);
  const quiet = new PassThrough();
  linger(quiet, clock);
  await clock.pass(LINGER_QUIET_MS);
  for (let step = 0; step < 10; step += 1) await clock.pass(500);
  expect(quiet.destroyed).toBe(true);
});
