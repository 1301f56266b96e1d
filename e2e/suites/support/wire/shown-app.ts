import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { networkInterfaces } from "node:os";
import { buffer } from "node:stream/consumers";

/** An application of a pod: it answers with what reached it. */
export interface ShownApp extends AsyncDisposable {
  /** An address of this machine that is not loopback: the kube-apiserver passes nothing to loopback. */
  readonly address: string;
  readonly port: number;
}

/** Lines that the application says at the end of each answer. */
const TRAILERS = [
  ["X-App-Sum", "7"],
  ["X-App-Sum", "8"],
  ["X-App-End", "a b"],
] as const;
const COOKIES = ["session=1; Path=/; HttpOnly", "theme=dark"];

/** This machine's first IPv4 address beside loopback, if it has one. */
export function ownAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ family, internal }) => family === "IPv4" && !internal)?.address;
}

/** Starts it on a free port of this address. */
export async function startShownApp(address: string): Promise<ShownApp> {
  const server = createServer((request, response) => {
    void show(request).then((body) => {
      response.writeHead(request.url?.includes("teapot") ? 418 : 200, [
        ["Content-Type", "application/json"],
        ["X-App", "r\u00e9sum\u00e9"],
        ...COOKIES.map((cookie): [string, string] => ["Set-Cookie", cookie]),
        ["Trailer", "X-App-Sum, X-App-End"],
      ]);
      response.addTrailers(TRAILERS.map(([name, value]): [string, string] => [name, value]));
      response.end(body);
    });
  });
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    if (request.url?.includes("refused")) {
      socket.end("HTTP/1.1 403 Forbidden\r\nX-App: no\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n");
      return;
    }
    const protocol = request.headers["sec-websocket-protocol"];
    const chosen = protocol === undefined ? "" : `Sec-WebSocket-Protocol: ${protocol.split(",")[0]}\r\n`;
    const name = request.headers.upgrade ?? "";
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${name}\r\nConnection: Upgrade\r\n${chosen}X-App: yes\r\n\r\n`,
    );
    void show(request).then((shown) => {
      socket.write(`${shown}\n`);
      socket.write(head);
      socket.pipe(socket);
    });
  });
  server.listen(0, address);
  await once(server, "listening");
  const where = server.address();
  if (where === null || typeof where === "string") throw new Error("the application has no port");
  return {
    address,
    port: where.port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** The request that came, as JSON: an upgrade has no body. */
async function show(request: IncomingMessage): Promise<string> {
  const { method, url, rawHeaders } = request;
  const body = request.headers.upgrade === undefined ? (await buffer(request)).toString("latin1") : "";
  const headers = rawHeaders.flatMap((name, index) =>
    index % 2 === 0 ? [`${name.toLowerCase()}: ${rawHeaders[index + 1] ?? ""}`] : [],
  );
  return JSON.stringify({ method, url, headers: headers.sort(), body, trailers: request.rawTrailers });
}
