import { once } from "node:events";
import { createServer } from "node:net";
import { type ConnectionOptions, connect } from "node:tls";

/** The first bytes that Node's own TLS client sends. */
export async function realClientHello(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const client = connect({ port, host: "127.0.0.1", ...options });
  client.on("error", () => {});
  const [socket] = await once(server, "connection");
  const [bytes] = await once(socket, "data");
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

/** A ClientHello with these extensions, as `[type, content]`. */
export function clientHello(extensions: readonly (readonly [number, Uint8Array])[]): Buffer {
  const list = Buffer.concat(extensions.map(([type, content]) => Buffer.concat([u16(type), vector16(content)])));
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([0]),
    vector16(Buffer.from([0x13, 0x01])),
    Buffer.from([1, 0]),
    vector16(list),
  ]);
  return Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
}

export function serverNameExtension(name: string): readonly [number, Uint8Array] {
  return [0, vector16(Buffer.concat([Buffer.from([0]), vector16(Buffer.from(name, "latin1"))]))];
}

/** A handshake message cut into records of at most so many bytes. */
export function records(message: Uint8Array, size: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    parts.push(Buffer.concat([Buffer.from([22, 3, 1]), u16(part.length), part]));
  }
  return Buffer.concat(parts);
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function vector16(content: Uint8Array): Buffer {
  return Buffer.concat([u16(content.length), content]);
}
