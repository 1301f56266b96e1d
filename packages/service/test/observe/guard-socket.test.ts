import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { guardSocket } from "../../src/observe/guard-socket.ts";

test("a listener that throws while it looks at a socket ends that socket, and the next one is served", async () => {
  const onFailed = vi.fn();
  let looks = 0;
  const server = createServer((_request, response) => response.end("served"));
  const look = (): void => {
    looks += 1;
    if (looks === 1) throw new Error("cannot look at this one");
  };
  server.on("connection", guardSocket(look, onFailed));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const first = connect(port, "127.0.0.1");
  first.on("error", () => undefined);
  await once(first, "close");
  expect(onFailed).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ message: "cannot look at this one" }));
  const answer = await fetch(`http://127.0.0.1:${port}/`, { keepalive: false });
  expect(await answer.text()).toBe("served");
});
