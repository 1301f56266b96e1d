import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createSecureContext, TLSSocket } from "node:tls";
import type { Authority } from "../../../src/cluster/control-plane/certificates.ts";

/** The header that an agent sends before a stream's bytes: 16 bytes, then as many as the last two of them say. */
const HEADER_BYTES = 16;
/** A TLS record that begins a handshake. */
const HANDSHAKE = 22;

export const serverNameOf = (cluster: string): string => `${cluster}.clusters.cluster-connect.internal`;

/**
 * The server behind an agent, with TLS of the cluster's own. Its `/version` names the cluster. An upgrade says the
 * cluster's name and then echoes.
 *
 * @param more `raw` takes connections that do not begin with TLS; without it they are taken for TLS, too. `count` is
 *   told of each request.
 * @returns ends it.
 */
export async function serveCluster(
  name: string,
  path: string,
  authority: Authority,
  { raw, count }: { readonly raw?: (socket: Socket) => void; readonly count?: () => void } = {},
): Promise<() => unknown> {
  const { certPem, keyPem } = await authority.issue({ commonName: serverNameOf(name), hosts: [serverNameOf(name)] });
  const secureContext = createSecureContext({ cert: certPem, key: keyPem });
  const http = createHttpServer({ keepAliveTimeout: 0 }, (_request, response) => {
    count?.();
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ gitVersion: name }));
  });
  http.on("upgrade", (_request, socket: Duplex) => {
    socket.on("error", () => undefined);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n${name}\n`);
    socket.pipe(socket);
  });
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on("error", () => undefined);
    skipHeader(socket).then(
      async () => {
        if (raw !== undefined && (await firstByte(socket)) !== HANDSHAKE) {
          raw(socket);
          return;
        }
        const tls = new TLSSocket(socket, { isServer: true, secureContext });
        tls.on("error", () => undefined);
        http.emit("connection", tls);
      },
      () => socket.destroy(),
    );
  }).listen(path);
  await once(server, "listening");
  return () => server.close();
}

/** Looks at it, and leaves it to be read. */
async function firstByte(socket: Socket): Promise<number | undefined> {
  for (;;) {
    const chunk: unknown = socket.read(1);
    if (Buffer.isBuffer(chunk)) {
      socket.unshift(chunk);
      return chunk[0];
    }
    if (socket.readableEnded || socket.destroyed) return undefined;
    await once(socket, "readable");
  }
}

async function skipHeader(socket: Socket): Promise<void> {
  let held = Buffer.alloc(0);
  for (;;) {
    const length = held.length < HEADER_BYTES ? undefined : HEADER_BYTES + held.readUInt16BE(HEADER_BYTES - 2);
    if (length !== undefined && held.length >= length) {
      socket.unshift(held.subarray(length));
      return;
    }
    const chunk: unknown = socket.read();
    if (Buffer.isBuffer(chunk)) held = Buffer.concat([held, chunk]);
    else if (socket.readableEnded || socket.destroyed) throw new Error("no header");
    else await once(socket, "readable");
  }
}
