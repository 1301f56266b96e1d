import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { SUBPROTOCOL } from "@cluster-connect/protocol";

type Figures = Readonly<Record<string, unknown>>;

/** A public port, with TLS or, like the health ports, without. */
interface Port {
  readonly url: URL;
  readonly ca: string;
}

const DIAL_TIMEOUT_MS = 20_000;
/** A server that takes nothing for so long has stopped reading. */
const STUCK_MS = 15_000;
const QUEUE_BYTES = 1_048_576;
const PING_BYTES = 125;
const SLOW_BYTE_MS = 200;

async function dial({ url, ca }: Port): Promise<Socket> {
  const where = { host: url.hostname, port: Number(url.port) };
  const secure = url.protocol === "https:";
  const socket = secure ? connectTls({ ...where, ca }) : connect(where);
  socket.on("error", () => undefined);
  await once(socket, secure ? "secureConnect" : "connect", { signal: AbortSignal.timeout(DIAL_TIMEOUT_MS) });
  return socket;
}

/** As many requests as go into so many bytes, at once on each socket, with answers that stay unread. */
export async function pipelineGets(
  attack: { readonly count: number; readonly bytes: number; readonly path: string },
  port: Port,
): Promise<Figures> {
  const one = `GET ${attack.path} HTTP/1.1\r\nHost: ${port.url.host}\r\n\r\n`;
  const all = one.repeat(Math.floor(attack.bytes / one.length));
  const sockets = await Promise.all(Array.from({ length: attack.count }, () => dial(port)));
  for (const socket of sockets) socket.pause().write(all);
  return { sockets: sockets.length, requestsEach: Math.floor(attack.bytes / one.length) };
}

/** The same from sockets that are new in each round: a round is over when each has an answer, or its end. */
export async function redialGets(
  attack: { readonly count: number; readonly bytes: number; readonly path: string; readonly rounds: number },
  port: Port,
): Promise<Figures> {
  const one = `GET ${attack.path} HTTP/1.1\r\nHost: ${port.url.host}\r\n\r\n`;
  const all = one.repeat(Math.floor(attack.bytes / one.length));
  let refused = 0;
  const ask = async (): Promise<void> => {
    const socket = await dial(port).catch(() => undefined);
    if (socket === undefined) {
      refused += 1;
      return;
    }
    const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS);
    const answered = Promise.race([once(socket, "readable", { signal }), once(socket, "close", { signal })]);
    socket.write(all);
    await answered.catch(() => undefined);
    socket.destroy();
  };
  for (let round = 0; round < attack.rounds; round += 1) {
    await Promise.all(Array.from({ length: attack.count }, ask));
  }
  return { rounds: attack.rounds, refused };
}

/** Heads that come a byte at a time, for so long. */
export async function sendSlowHeads(
  attack: { readonly count: number; readonly seconds: number },
  port: Port,
): Promise<Figures> {
  const sockets = await Promise.all(Array.from({ length: attack.count }, () => dial(port)));
  const until = Date.now() + attack.seconds * 1_000;
  for (const socket of sockets) socket.resume().write(`GET / HTTP/1.1\r\nHost: ${port.url.host}\r\nX-A: `);
  while (Date.now() < until && sockets.some((socket) => socket.writable)) {
    for (const socket of sockets) if (socket.writable) socket.write("a");
    await delay(SLOW_BYTE_MS);
  }
  return { ended: sockets.filter((socket) => !socket.writable).length };
}

/** WebSocket pings before any HELLO, as fast as the other side takes them, with answers that stay unread. */
export async function pingBeforeHello(attack: { readonly bytes: number }, port: Port): Promise<Figures> {
  const socket = await dial(port);
  const lines = [
    "GET /v1/agent HTTP/1.1",
    `Host: ${port.url.host}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  const [answer] = await once(socket, "data", { signal: AbortSignal.timeout(DIAL_TIMEOUT_MS) });
  const accepted = String(answer).startsWith("HTTP/1.1 101");
  const from = Date.now();
  socket.pause();
  const ping = Buffer.concat([Buffer.from([0x89, 0x80 | PING_BYTES]), randomBytes(4), randomBytes(PING_BYTES)]);
  const block = Buffer.concat(Array.from({ length: 500 }, () => ping));
  let sent = 0;
  let movedAt = Date.now();
  while (sent < attack.bytes && socket.writable && Date.now() - movedAt < STUCK_MS) {
    if (socket.writableLength > QUEUE_BYTES) {
      await delay(5);
      continue;
    }
    socket.write(block);
    sent += block.length;
    movedAt = Date.now();
    // Other events have their turn, the end of the socket among them.
    await delay(0);
  }
  return { accepted, sent, ended: !socket.writable, ms: Date.now() - from };
}
