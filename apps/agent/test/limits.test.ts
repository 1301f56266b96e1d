import { readAll } from "@cluster-connect/framing/testing";
import { parseClusterId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { LIMIT_SCHEMA } from "../src/limits.ts";
import { CALLER, CORRELATION_ID, configFor, listenAsProxy, SESSION_ID, startTestAgent } from "./support/fixture.ts";
import { startTestRelay } from "./support/test-relay.ts";

test("the defaults take what a relay lets one cluster have", () => {
  expect(LIMIT_SCHEMA.parse(undefined)).toEqual({ streams: 10_000, bufferMebibytes: 256, suspendedMebibytes: 391 });
});

test("each stream that may be open has room to wait; one more is refused with both settings named", () => {
  expect(LIMIT_SCHEMA.parse({ suspendedMebibytes: 1 })).toMatchObject({ streams: 25, suspendedMebibytes: 1 });
  expect(LIMIT_SCHEMA.parse({ streams: 25, suspendedMebibytes: 1 })).toMatchObject({ streams: 25 });
  const { error } = LIMIT_SCHEMA.safeParse({ streams: 26, suspendedMebibytes: 1 });
  expect(error?.issues).toMatchObject([
    {
      path: ["streams"],
      message: "expected at most 25: `limits.suspendedMebibytes` has no room for more without a tunnel",
    },
  ]);
  expect(LIMIT_SCHEMA.parse({ streams: 26 })).toMatchObject({ streams: 26, suspendedMebibytes: 2 });
});

test("each stream that may be open has room for its smallest windows; one more is refused with both settings named", () => {
  expect(LIMIT_SCHEMA.parse({ bufferMebibytes: 1 })).toMatchObject({ streams: 128, bufferMebibytes: 1 });
  expect(LIMIT_SCHEMA.parse({ streams: 128, bufferMebibytes: 1 })).toMatchObject({ streams: 128 });
  const { error } = LIMIT_SCHEMA.safeParse({ streams: 129, bufferMebibytes: 1 });
  expect(error?.issues).toMatchObject([
    {
      path: ["streams"],
      message: "expected at most 128: `limits.bufferMebibytes` has no room for the smallest windows of more",
    },
  ]);
  expect(LIMIT_SCHEMA.parse({ streams: 32_769 })).toMatchObject({ streams: 32_769, bufferMebibytes: 257 });
});

test("an agent that holds as much as it may for slow readers refuses a new stream, and takes one once they have read", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay, { limits: { streams: 100, bufferMebibytes: 1, suspendedMebibytes: 4 } });
  const said = Buffer.alloc(500_000, "said");
  await listenAsProxy(config, (socket) => void socket.on("error", () => undefined).end(said));
  await startTestAgent(config);
  const session = await relay.nextSession();
  const ids = { cluster: parseClusterId("prod"), correlationId: CORRELATION_ID, sessionId: SESSION_ID };
  const open = () => session.open({ ...ids, upstream: "kubernetes", caller: CALLER });
  const served = [];
  for (let refused: unknown; refused === undefined; ) {
    const stream = open();
    stream.on("error", () => undefined);
    refused = await stream.accepted.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (refused === undefined) served.push(stream);
    else {
      const message = expect.stringContaining("readers that are slow");
      expect(refused).toMatchObject({ code: "CC_LIMIT_REACHED", retryAfterMs: 1_000, message });
    }
  }
  // Each holds less than its window of 256 KiB.
  expect(served.length).toBeGreaterThan(3);
  for (const stream of served) expect((await readAll(stream)).equals(said)).toBe(true);
  await expect(open().accepted).resolves.toBeDefined();
});

test("an agent serves as many streams as its limit says, refuses one more at once, and takes one again when one ends", async () => {
  const relay = await startTestRelay();
  const config = await configFor(relay, { limits: { streams: 2, bufferMebibytes: 1, suspendedMebibytes: 1 } });
  await listenAsProxy(config, (socket) => void socket.on("error", () => undefined).resume());
  await startTestAgent(config);
  const session = await relay.nextSession();
  const ids = { cluster: parseClusterId("prod"), correlationId: CORRELATION_ID, sessionId: SESSION_ID };
  const open = () => session.open({ ...ids, upstream: "kubernetes", caller: CALLER });
  const [first, second] = [open(), open()];
  await Promise.all([first.accepted, second.accepted]);
  await expect(open().accepted).rejects.toMatchObject({ code: "CC_LIMIT_REACHED", retryAfterMs: 1_000 });
  first.on("error", () => undefined).reset("CC_CANCELLED", "done");
  await first.done;
  await expect
    .poll(() =>
      open().accepted.then(
        () => "served",
        () => "refused",
      ),
    )
    .toBe("served");
});
