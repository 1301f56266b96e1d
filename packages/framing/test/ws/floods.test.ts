import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import {
  DEFAULT_HELLO_LIMITS,
  encodeHello,
  encodeU64,
  type FrameType,
  OWN_VERSIONS,
  parseInstanceId,
  parseSessionId,
  SUBPROTOCOL,
} from "@cluster-connect/protocol";
import { expect, onTestFinished, test } from "vitest";
import { encodeFrame } from "../../src/frames/encode.ts";
import { acceptSession, dialSession, type Session } from "../../src/index.ts";
import { dialWebSocket } from "../../src/ws/dial.ts";
import { acceptWebSocket } from "../../src/ws/index.ts";
import { OPCODE, wireHeader } from "../../src/ws/wire.ts";

const MIB = 1_048_576;
/** Bytes that the process may grow by while it is flooded. */
const GROWTH_BYTES = 16 * MIB;
const FLOOD_BYTES = 400 * MIB;
const NO_MASK = new Uint8Array(4);
const SIGNAL = new AbortController().signal;

type Role = "acceptor" | "dialer";

/** A session of ours, and the raw socket of a peer that does as it likes. */
interface Victim {
  readonly session: Session;
  readonly peer: Socket;
  /** Frames of a peer in this place: a dialer masks, with a key of zeros. */
  frame(opcode: number, payload: Uint8Array, isFinal?: boolean): Buffer;
}

async function victim(role: Role): Promise<Victim> {
  const masks = role === "acceptor";
  const frame = (opcode: number, payload: Uint8Array, isFinal = true): Buffer => {
    const header = wireHeader(opcode, payload.length, masks ? NO_MASK : undefined);
    header[0] = (isFinal ? 0x80 : 0) | opcode;
    return Buffer.concat([header, payload]);
  };
  const made = role === "acceptor" ? await floodedAcceptor() : await floodedDialer();
  made.peer.on("error", () => {});
  onTestFinished(() => void made.peer.destroy());
  return { ...made, frame };
}

const COMMON = { software: "test", onStream: () => {} } as const;

async function floodedAcceptor(): Promise<Pick<Victim, "session" | "peer">> {
  const accepted = Promise.withResolvers<Session>();
  const server = createServer();
  server.on("upgrade", (request, socket, head) => {
    const channel = acceptWebSocket(request, socket, head);
    if (channel === undefined) return;
    const authenticate = () => Promise.resolve({ sessionId: parseSessionId("session-1") });
    const role = { role: "relay", instanceId: parseInstanceId("relay-01"), authenticate } as const;
    accepted.resolve(acceptSession(channel, { ...COMMON, ...role }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const peer = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const key = Buffer.alloc(16).toString("base64");
  const lines = ["GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
  peer.write(
    `${[...lines, `Sec-WebSocket-Key: ${key}`, `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`].join("\r\n")}\r\n\r\n`,
  );
  return { peer, session: await accepted.promise };
}

async function floodedDialer(): Promise<Pick<Victim, "session" | "peer">> {
  const upgraded = Promise.withResolvers<Socket>();
  const server = createServer();
  server.on("upgrade", (request, socket, head) => {
    // The handshake is ours; the bytes behind it are not.
    const channel = acceptWebSocket(request, socket, head);
    expect(channel).toBeDefined();
    upgraded.resolve(socket as Socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const url = new URL(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const channel = await dialWebSocket(url, { signal: SIGNAL });
  const session = dialSession(channel, { ...COMMON, role: "agent", instanceId: parseInstanceId("agent-01") });
  return { session, peer: await upgraded.promise };
}

/** The handshake of a CLI, so that the acceptor admits it. */
async function passHandshake({ session, peer, frame }: Victim): Promise<void> {
  const instanceId = parseInstanceId("cli-0001");
  const hello = encodeHello({
    versions: OWN_VERSIONS,
    role: "cli",
    instanceId,
    software: "x",
    limits: DEFAULT_HELLO_LIMITS,
  });
  peer.write(frame(OPCODE.binary, encodeFrame({ type: "HELLO", streamId: 0, parts: [hello] })));
  await session.ready;
}

interface Flooded {
  /** Bytes that the victim's side took, its system included. */
  readonly sentBytes: number;
  readonly grownBytes: number;
}

/** Writes the piece again and again, until the socket is gone, takes no more for `stuckMs`, or everything was sent. */
async function flood(peer: Socket, piece: Buffer, total: number, stuckMs = 2_000): Promise<Flooded> {
  const burst = Buffer.concat(Array.from({ length: Math.ceil(65_536 / piece.length) }, () => piece));
  globalThis.gc?.();
  const held = (): number => {
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = held();
  let grownBytes = 0;
  let sentBytes = 0;
  while (!peer.destroyed && peer.writable && sentBytes < total) {
    const took = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), stuckMs);
      peer.write(burst, () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
    if (!took) break;
    sentBytes += burst.length;
    grownBytes = Math.max(grownBytes, held() - before);
  }
  return { sentBytes, grownBytes };
}

const EMPTY = new Uint8Array(0);
const unknownFrame = Uint8Array.from(Buffer.from("017f8000000000000000000f000000000000000000000000000000", "hex"));

const KINDS: ReadonlyArray<readonly [string, (v: Victim) => Buffer]> = [
  ["pings", (v: Victim) => v.frame(OPCODE.ping, EMPTY)],
  ["large pings", (v: Victim) => v.frame(OPCODE.ping, new Uint8Array(125))],
  ["pongs", (v: Victim) => v.frame(OPCODE.pong, EMPTY)],
  ["empty messages", (v: Victim) => v.frame(OPCODE.binary, EMPTY)],
  ["frames of a type that may be skipped", (v: Victim) => v.frame(OPCODE.binary, unknownFrame)],
  [
    "messages in empty pieces",
    (v: Victim) =>
      Buffer.concat([
        v.frame(OPCODE.binary, EMPTY, false),
        ...Array.from({ length: 100 }, () => v.frame(OPCODE.continuation, EMPTY, false)),
        v.frame(OPCODE.continuation, EMPTY),
      ]),
  ],
];

for (const role of ["acceptor", "dialer"] as const) {
  test.each(KINDS)(`before HELLO, 400 MB of %s close the channel (the ${role}'s) and cost little`, async (_, piece) => {
    const flooded = await victim(role);
    const answers: number[] = [];
    flooded.peer.on("data", (chunk: Buffer) => answers.push(chunk.length));
    const { sentBytes, grownBytes } = await flood(flooded.peer, piece(flooded), FLOOD_BYTES);
    await expect(flooded.session.closed).resolves.toMatchObject({ code: "CC_CHANNEL_LOST" });
    expect(sentBytes).toBeLessThan(FLOOD_BYTES);
    expect(grownBytes).toBeLessThan(GROWTH_BYTES);
    // A head, HELLO and a close: no ping was answered.
    expect(answers.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(2_000);
  });
}

test("a peer that is admitted and reads gets an answer to its last ping", async () => {
  const flooded = await victim("acceptor");
  await passHandshake(flooded);
  let seen = Buffer.alloc(0);
  flooded.peer.on("data", (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]).subarray(-4_096);
  });
  const pings = Array.from({ length: 10_000 }, (_, index) => flooded.frame(OPCODE.ping, encodeU64(index)));
  flooded.peer.write(Buffer.concat(pings));
  const last = Buffer.concat([wireHeader(OPCODE.pong, 8), encodeU64(9_999)]);
  await expect.poll(() => seen.includes(last)).toBe(true);
});

const PING = encodeFrame({ type: "PING" satisfies FrameType, streamId: 0, parts: [encodeU64(1)] });

test.each([
  ["pings of WebSocket", OPCODE.ping, new Uint8Array(125)],
  ["PING frames", OPCODE.binary, PING],
])("a peer that is admitted and reads none of the answers to its %s costs little", async (_what, opcode, payload) => {
  const flooded = await victim("acceptor");
  await passHandshake(flooded);
  flooded.peer.pause();
  const { grownBytes } = await flood(flooded.peer, flooded.frame(opcode, payload), 64 * MIB);
  expect(grownBytes).toBeLessThan(GROWTH_BYTES);
});

test("what a peer sends while the channel closes is dropped, until the time for that is over", async () => {
  const flooded = await victim("acceptor");
  await passHandshake(flooded);
  flooded.session.close("CC_SESSION_ENDED", "over");
  const closed = new Promise<void>((resolve) => void flooded.peer.once("close", () => resolve()));
  const { grownBytes } = await flood(flooded.peer, flooded.frame(OPCODE.ping, EMPTY), Number.POSITIVE_INFINITY);
  expect(grownBytes).toBeLessThan(GROWTH_BYTES);
  await closed;
});
