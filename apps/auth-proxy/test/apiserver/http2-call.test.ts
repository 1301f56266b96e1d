import { once } from "node:events";
import { connect, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { http2Call } from "../../src/apiserver/http2-call.ts";

/** A stream to a server that never answers. */
async function unanswered() {
  const server = createServer(() => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  session.on("error", () => undefined);
  onTestFinished(() => {
    session.destroy();
    server.close();
  });
  await once(session, "connect");
  return session.request({ ":path": "/", ":method": "GET" }, { endStream: false, waitForTrailers: true });
}

test("a call that fails before anything waits for its answer ends nothing else, and neither do later failures", async () => {
  const stream = await unanswered();
  http2Call(stream);
  expect(stream.listenerCount("error")).toBeGreaterThan(0);
  stream.destroy(new Error("given up"));
  await new Promise<void>((resolve) => void stream.once("close", resolve));
  expect(() => stream.emit("error", new Error("again"))).not.toThrow();
});

test("a call that fails while its answer is waited for says that there is none, once", async () => {
  const stream = await unanswered();
  const answer = http2Call(stream).answer();
  stream.destroy(new Error("given up"));
  await expect(answer).rejects.toMatchObject({ code: "CC_APISERVER_UNREACHABLE" });
  expect(() => stream.emit("error", new Error("again"))).not.toThrow();
});
