import { expect, test } from "vitest";
import { createLogger } from "../../src/index.ts";
import { createMemoryLogSink } from "../../src/testing/index.ts";

function capture() {
  const stream = createMemoryLogSink();
  return { lines: stream.lines, stream };
}

test("a line is JSON with service, level, time, event and ids", () => {
  const { lines, stream } = capture();
  createLogger({ service: "relay", ids: { instanceId: "relay-01" } }, stream)
    .child({ clusterId: "a" })
    .info({ event: "tunnel.open", rttMs: 4 }, "tunnel open");
  expect(JSON.parse(lines[0] ?? "")).toEqual({
    level: "info",
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    service: "relay",
    instanceId: "relay-01",
    clusterId: "a",
    event: "tunnel.open",
    rttMs: 4,
    msg: "tunnel open",
  });
});

test("fields named like a secret are not written", () => {
  const { lines, stream } = capture();
  const log = createLogger({ service: "relay" }, stream);
  log.info({ event: "x", token: "hunter2", headers: { authorization: "hunter2" } });
  expect(lines.join()).not.toContain("hunter2");
});

test("levels below the chosen one are left out", () => {
  const { lines, stream } = capture();
  const log = createLogger({ service: "relay", level: "warn" }, stream);
  log.info({ event: "x" });
  log.warn({ event: "y" });
  expect(lines).toHaveLength(1);
});
