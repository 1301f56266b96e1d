/** Two upstreams in a process: one answers what it is told, one says as many bytes as it is asked for and closes. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { patternBytes } from "../pattern.ts";

function serveEcho(socket: Socket): void {
  socket.on("error", () => {});
  socket.pipe(socket);
}

function serveSource(socket: Socket): void {
  socket.on("error", () => {});
  socket.once("data", (asked: Buffer) => {
    // Closed both ways at once, without waiting for the other side.
    socket.end(patternBytes(asked.readUInt32BE(0)), () => socket.destroy());
  });
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

const [echo, source] = await Promise.all([
  listen(createServer({ allowHalfOpen: true, noDelay: true }, serveEcho)),
  listen(createServer({ allowHalfOpen: true, noDelay: true }, serveSource)),
]);
process.once("SIGTERM", () => process.exit(0));
console.log(JSON.stringify({ event: "echo.ready", echo, source }));
