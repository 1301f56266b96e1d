/** The far end of every chain: does what the first bytes of a connection say. */
import { readFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { listen } from "../local-server.ts";
import { readSettings } from "../settings.ts";
import { decodeOrder, ORDER_BYTES } from "./order.ts";
import type { UpstreamSettings } from "./settings.ts";

const BLOCK: Buffer = Buffer.alloc(262_144, 0x5a);
const TLS_HANDSHAKE = 22;

function serve(socket: Socket): void {
  let first: Buffer = Buffer.alloc(0);
  const onFirst = (chunk: Buffer): void => {
    first = first.length === 0 ? chunk : Buffer.concat([first, chunk]);
    if (first.length < ORDER_BYTES) return;
    socket.off("data", onFirst);
    follow(socket, first);
  };
  socket.on("data", onFirst);
  socket.on("end", () => socket.end());
  socket.on("error", () => socket.destroy());
  socket.resume();
}

function follow(socket: Socket, first: Buffer): void {
  const order = decodeOrder(first);
  const rest = first.subarray(ORDER_BYTES);
  switch (order.kind) {
    case "echo":
      if (rest.length > 0) socket.write(rest);
      socket.on("data", (chunk) => socket.write(chunk));
      return;
    case "take":
      take(socket, rest.length, order.bytes);
      return;
    case "give":
      socket.resume();
      give(socket, order.bytes);
      return;
  }
}

function take(socket: Socket, already: number, bytes: number): void {
  let taken = already;
  const check = (): void => {
    if (taken === bytes) socket.write(Buffer.from([1]));
  };
  socket.on("data", (chunk) => {
    taken += chunk.length;
    check();
  });
  check();
}

function give(socket: Socket, bytes: number): void {
  let left = bytes;
  const more = (): void => {
    while (left > 0 && !socket.destroyed) {
      const block = left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
      left -= block.length;
      // `write` answers false for a large block that has left already.
      if (!socket.write(block) && socket.writableLength > 0) return;
    }
    if (left === 0) socket.end();
  };
  socket.on("drain", more);
  more();
}

const { certFile, keyFile } = readSettings<UpstreamSettings>(process.argv);
const secure = createTlsServer(
  { cert: await readFile(certFile), key: await readFile(keyFile), allowHalfOpen: true },
  serve,
);

/** Ends TLS where the first byte says so. */
function begin(socket: Socket): void {
  socket.on("error", () => socket.destroy());
  socket.once("data", (first: Buffer) => {
    socket.pause();
    socket.unshift(first);
    if (first[0] === TLS_HANDSHAKE) secure.emit("connection", socket);
    else serve(socket);
  });
}

process.send?.(await listen(createServer({ allowHalfOpen: true, noDelay: true }, begin)));
