import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { SUBPROTOCOL } from "@cluster-connect/protocol";
import type { HalfOpen } from "../attacker.ts";

/** Dials so many handshakes that stop half way, each from the next of the addresses; again where one was refused. */
export async function holdHalfOpen(
  attack: { readonly kind: HalfOpen; readonly count: number; readonly addresses: readonly string[] },
  relay: { readonly url: URL; readonly ca: string },
): Promise<Readonly<Record<string, number>>> {
  const { kind, count, addresses } = attack;
  const until = Date.now() + TRY_MS;
  let standing = 0;
  let refused = 0;
  const hold = async (localAddress: string): Promise<void> => {
    while (Date.now() < until) {
      const socket = await dial(kind, localAddress, relay).catch(() => undefined);
      if (socket !== undefined && (await stands(socket))) {
        standing += 1;
        socket.once("close", () => {
          standing -= 1;
        });
        return;
      }
      socket?.destroy();
      refused += 1;
      await delay(RETRY_MS * (1 + Math.random()));
    }
  };
  const from = Date.now();
  await Promise.all(Array.from({ length: count }, (_, index) => hold(addresses[index % addresses.length] ?? "")));
  return { standing, refused, ms: Date.now() - from };
}

/** A relay gives ten seconds; what stands after this stands together. */
const TRY_MS = 4_000;
const RETRY_MS = 100;
/** A socket that is refused is closed within this. */
const SETTLE_MS = 250;
const DIAL_TIMEOUT_MS = 5_000;
/** A record of a handshake that goes on for longer than what follows. */
const HALF_CLIENT_HELLO = Buffer.concat([Buffer.from("1603010200010001fc0303", "hex"), Buffer.alloc(40, 7)]);

async function dial(
  kind: HalfOpen,
  localAddress: string,
  { url, ca }: { readonly url: URL; readonly ca: string },
): Promise<Socket> {
  const where = { host: url.hostname, port: Number(url.port), localAddress };
  const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS);
  const plain = kind === "silent" || kind === "half-hello";
  const socket = plain ? connect(where) : connectTls({ ...where, ca });
  socket.on("error", () => undefined);
  try {
    await once(socket, plain ? "connect" : "secureConnect", { signal });
    if (kind === "half-hello") socket.write(HALF_CLIENT_HELLO);
    if (kind === "half-request") socket.write("GET /v1/agent HTTP/1.1\r\nHost: relay\r\nUpgrade: webs");
    if (kind === "upgraded") await upgrade(socket, url, signal);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function upgrade(socket: Socket, url: URL, signal: AbortSignal): Promise<void> {
  const lines = [
    "GET /v1/agent HTTP/1.1",
    `Host: ${url.host}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  const [answer] = await once(socket, "data", { signal });
  if (!String(answer).startsWith("HTTP/1.1 101")) throw new Error("refused");
}

async function stands(socket: Socket): Promise<boolean> {
  socket.resume();
  const closed = new Promise((resolve) => void socket.once("close", resolve));
  await Promise.race([closed, delay(SETTLE_MS)]);
  return !socket.destroyed && socket.readable;
}
