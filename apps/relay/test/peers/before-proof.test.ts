import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { SUBPROTOCOL } from "@cluster-connect/protocol";
import { selfSigned } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { UNPROVED_PEERS } from "../../src/peers/listener.ts";
import { dialAgent, dialCli, enrollAgent, type Fixture, openRequest, opsToken } from "../support/fixture.ts";
import { startFleet } from "../support/fleet.ts";

/** The port for relays, and two relays between which a stream goes on. */
interface Setup {
  readonly port: number;
  /** The certificate that all relays share here, its own authority. */
  readonly cert: string;
  readonly key: string;
  /** Sends bytes through both relays and waits until they are back. */
  readonly streamGoesOn: () => Promise<void>;
  /** Sockets that the relay ended because there were too many. */
  readonly refused: () => Promise<number>;
}

async function setUp(): Promise<Setup> {
  const [a, b] = await startFleet(2);
  if (a === undefined || b === undefined) throw new Error("two relays were asked for");
  const settings = b.config.peers;
  const agent = await enrollAgent(a);
  await (await dialAgent(b, agent)).ready;
  await expect.poll(() => tunnels(a)).toBe(1);
  const stream = (await dialCli(a, await opsToken(a))).open(openRequest());
  let back = 0;
  let sent = 0;
  stream.on("data", (chunk: Buffer) => {
    back += chunk.length;
  });
  const streamGoesOn = async (): Promise<void> => {
    sent += 10;
    stream.write("still here");
    await expect.poll(() => back).toBe(sent);
  };
  await streamGoesOn();
  return {
    port: settings?.listen.port ?? 0,
    cert: await readFile(settings?.certFile ?? "", "utf8"),
    key: await readFile(settings?.keyFile ?? "", "utf8"),
    streamGoesOn,
    refused: async () => {
      const text = await (await fetch(new URL("/metrics", b.url))).text();
      return Number(
        /^cluster_connect_upgrades_refused_total\{.*code="CC_LIMIT_REACHED".*\} (\d+)$/m.exec(text)?.[1] ?? 0,
      );
    },
  };
}

const tunnels = async ({ store }: Fixture): Promise<number> =>
  (await store.db.selectFrom("tunnels").select("id").execute()).length;

/** Of a pong with as much in it as a ping may have. */
const PONG_HEAD = Buffer.from([0x8a, 125]);
const HALF_HELLO = Buffer.concat([Buffer.from("1603010200010001fc0303", "hex"), Buffer.alloc(40, 7)]);

/** Goes as far as a dialer without a relay's certificate comes. */
type Dial = (setup: Setup, localAddress: string) => Socket;

const silent: Dial = ({ port }, localAddress) => connect({ port, host: "127.0.0.1", localAddress });
const halfHello: Dial = (setup, localAddress) => {
  const socket = silent(setup, localAddress);
  socket.write(HALF_HELLO);
  return socket;
};

function open(dial: Dial, setup: Setup, localAddress: string): Socket {
  const socket = dial(setup, localAddress);
  socket.on("error", () => undefined).resume();
  onTestFinished(() => void socket.destroy());
  return socket;
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : void socket.once("close", () => resolve())));

/** A relay's own handshake with the port, as far as the answer to a request without a channel. */
async function askAsRelay({ port, cert, key }: Setup): Promise<string> {
  const socket = connectTls({ port, host: "127.0.0.1", cert, key, ca: cert });
  onTestFinished(() => void socket.destroy());
  socket.write("GET / HTTP/1.1\r\nHost: relay\r\n\r\n");
  const [answer] = await once(socket, "data");
  return String(answer);
}

test.each<[what: string, dial: Dial]>([
  ["sockets that say nothing", silent],
  ["half a ClientHello each", halfHello],
])("%s keep no relay from the port, and one address has no more of them than its share", async (_what, dial) => {
  const setup = await setUp();
  for (let n = 0; n <= UNPROVED_PEERS.perAddress; n += 1) open(dial, setup, "127.0.0.2");
  await expect.poll(setup.refused).toBe(1);
  expect(await askAsRelay(setup)).toMatch(/^HTTP\/1\.1 404 /);
  await setup.streamGoesOn();
  expect(await setup.refused()).toBe(1);
});

test("floods from many addresses make room for a relay", async () => {
  const setup = await setUp();
  const addresses = Array.from({ length: 8 }, (_, n) => `127.0.0.${n + 2}`);
  expect(addresses.length * UNPROVED_PEERS.perAddress).toBe(2 * UNPROVED_PEERS.all);
  for (const address of addresses) {
    for (let n = 0; n < UNPROVED_PEERS.perAddress; n += 1) open(halfHello, setup, address);
  }
  expect(await askAsRelay(setup)).toMatch(/^HTTP\/1\.1 404 /);
  await setup.streamGoesOn();
  await expect.poll(setup.refused).toBeGreaterThan(0);
});

test.each(["no", "a foreign"])(
  "dialers with %s certificate that dial again at once get no further than TLS",
  async (which) => {
    const setup = await setUp();
    const foreign = which === "no" ? {} : await selfSigned();
    let answered = 0;
    const lane = async (): Promise<void> => {
      for (let round = 0; round < 10; round += 1) {
        const socket = connectTls({ port: setup.port, host: "127.0.0.1", rejectUnauthorized: false, ...foreign });
        socket
          .on("error", () => undefined)
          .on("data", () => {
            answered += 1;
          });
        socket.write("GET /v1/peer HTTP/1.1\r\nHost: relay\r\n\r\n");
        await closed(socket);
      }
    };
    const flood = Promise.all(Array.from({ length: 8 }, lane));
    await setup.streamGoesOn();
    await flood;
    expect(answered).toBe(0);
    expect(await askAsRelay(setup)).toMatch(/^HTTP\/1\.1 404 /);
    await setup.streamGoesOn();
  },
);

test("pings of a relay before its HELLO are not answered, and a megabyte of them ends its channel", async () => {
  const setup = await setUp();
  const { port, cert, key } = setup;
  const socket = connectTls({ port, host: "127.0.0.1", cert, key, ca: cert });
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  const lines = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
  const named = ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`];
  socket.write(`${["GET /v1/peer HTTP/1.1", "Host: relay", ...lines, ...named].join("\r\n")}\r\n\r\n`);
  const [answer] = await once(socket, "data");
  expect(String(answer)).toMatch(/^HTTP\/1\.1 101 /);
  const got: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => void got.push(chunk));
  const ping = Buffer.concat([Buffer.from([0x89, 0x80 | 125]), randomBytes(4), randomBytes(125)]);
  socket.write(Buffer.concat(Array.from({ length: 8_000 }, () => ping)));
  await closed(socket);
  expect(Buffer.concat(got).includes(PONG_HEAD)).toBe(false);
  await setup.streamGoesOn();
});
