import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** An HTTP proxy that knows CONNECT and asks for a user and password. */
export interface TestProxy {
  readonly url: string;
  /** Authorities that were asked for. */
  readonly asked: readonly string[];
}

/** @param names where names that exist nowhere else lead to. */
export async function startHttpProxy(names: Readonly<Record<string, number>>): Promise<TestProxy> {
  const asked: string[] = [];
  const expected = `Basic ${Buffer.from("jane:s3cret").toString("base64")}`;
  const server = createServer();
  const sockets = new Set<Socket>();
  server.on("connect", (request: IncomingMessage, socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    if (request.headers["proxy-authorization"] !== expected) {
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      return;
    }
    asked.push(request.url ?? "");
    const port = names[request.url ?? ""];
    if (port === undefined) {
      socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
      return;
    }
    const upstream = connect({ port, host: "127.0.0.1" }, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.pipe(upstream).pipe(socket);
    });
    upstream.on("error", () => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: `http://jane:s3cret@127.0.0.1:${port}`, asked };
}

/** A proxy that closes each connection without a word. */
export async function startClosingProxy(): Promise<TestProxy> {
  const asked: string[] = [];
  const server = createServer();
  server.on("connect", (request: IncomingMessage, socket: Socket) => {
    asked.push(request.url ?? "");
    socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: `http://127.0.0.1:${port}`, asked };
}
