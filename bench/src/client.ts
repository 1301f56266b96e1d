import { once } from "node:events";
import { connect, type Socket, type SocketConstructorOpts, type TcpNetConnectOpts } from "node:net";
import { connect as connectTls } from "node:tls";
import { encodeOrder, type Order } from "./programs/upstream/order.ts";

const BLOCK: Buffer = Buffer.alloc(262_144, 0x5a);

/** Makes a connection through a chain. */
export type Dial = (port: number, options?: Pick<SocketConstructorOpts, "onread">) => Socket;

const ADDRESS = { host: "127.0.0.1", noDelay: true } satisfies Omit<TcpNetConnectOpts, "port">;

/** As it is. */
export const dialPlain: Dial = (port, options) => connect({ ...ADDRESS, ...options, port });

/** With TLS from this end to the far one, as kubectl has it. */
export function secureDial(ca: Buffer): Dial {
  return (port, options) => connectTls({ ...ADDRESS, ...options, port, ca });
}

function open(port: number, order: Order, dial: Dial = dialPlain): Socket {
  const socket = dial(port);
  // The close that follows tells what an error means.
  socket.on("error", () => undefined);
  socket.write(encodeOrder(order));
  return socket;
}

/** Sends bytes to the far end; resolves when it has them all. */
export async function upload(port: number, bytes: number, dial?: Dial): Promise<void> {
  const socket = open(port, { kind: "take", bytes }, dial);
  const taken = answered(socket);
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const block = left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
      left -= block.length;
      // `write` answers false for a large block that has left already.
      if (!socket.write(block) && socket.writableLength > 0) return;
    }
  };
  socket.on("drain", more);
  more();
  await taken;
  socket.destroy();
}

/** Gets bytes from the far end. */
export async function download(port: number, bytes: number, dial?: Dial): Promise<void> {
  const got = await downloadFor(port, bytes, { onBytes: () => undefined, ...(dial === undefined ? {} : { dial }) });
  if (got !== bytes) throw new Error(`${got} of ${bytes} bytes came`);
}

/**
 * Gets bytes from the far end, as many as there are or until the signal.
 *
 * @returns how many came.
 */
export async function downloadFor(
  port: number,
  bytes: number,
  options: { readonly onBytes: (count: number) => void; readonly signal?: AbortSignal; readonly dial?: Dial },
): Promise<number> {
  const { onBytes, signal, dial = dialPlain } = options;
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let got = 0;
  const onread = {
    buffer: Buffer.alloc(BLOCK.length),
    callback(count: number): boolean {
      got += count;
      onBytes(count);
      return true;
    },
  };
  const socket = dial(port, { onread });
  socket.write(encodeOrder({ kind: "give", bytes }));
  socket.once("end", () => resolve(got));
  socket.once("error", reject);
  socket.once("close", () => resolve(got));
  signal?.addEventListener("abort", () => socket.destroy(), { once: true });
  return await promise;
}

/** A connection whose far end sends back what comes. */
export interface Echo {
  /** Sends bytes and resolves when as many came back. */
  roundTrip(bytes: Buffer): Promise<void>;
  close(): void;
}

export function openEcho(port: number): Echo {
  const socket = open(port, { kind: "echo" });
  let waiting: { left: number; readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  socket.on("data", (chunk) => {
    if (waiting === undefined) return;
    waiting.left -= chunk.length;
    if (waiting.left <= 0) waiting.resolve();
  });
  socket.once("close", () => waiting?.reject(new Error("the connection was closed")));
  return {
    roundTrip(bytes) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      waiting = { left: bytes.length, resolve, reject };
      socket.write(bytes);
      return promise;
    },
    close: () => socket.destroy(),
  };
}

/** A connection that asks for bytes and never reads one. */
export function openStalled(port: number, bytes: number): Socket {
  return open(port, { kind: "give", bytes }).pause();
}

async function answered(socket: Socket): Promise<void> {
  const broken = new AbortController();
  socket.once("close", () => broken.abort(new Error("the connection was closed")));
  await once(socket, "data", { signal: broken.signal });
}
