import { duplexPair } from "node:stream";
import { expect, test } from "vitest";
import type { ChannelEnd } from "../../src/channel.ts";
import { createFakeClock, type FakeClock } from "../../src/testing/fake-clock.ts";
import { socketChannel } from "../../src/ws/channel.ts";
import { OPCODE, wireHeader } from "../../src/ws/wire.ts";

const MAX_EARLY_BYTES = 524_288;
const HEAD = new Uint8Array(0);
const KEY = new Uint8Array(4);

interface Flooded {
  readonly clock: FakeClock;
  send(bytes: Uint8Array): Promise<void>;
  admit(): void;
  ends(): readonly ChannelEnd[];
}

function flooded(): Flooded {
  const clock = createFakeClock();
  const [near, far] = duplexPair();
  far.resume();
  const channel = socketChannel(near, { head: HEAD, masking: "none" }, { clock, randomBytes: () => KEY });
  const ends: ChannelEnd[] = [];
  channel.listen({ message() {}, drain() {}, close: (end) => ends.push(end) });
  return {
    clock,
    admit: channel.admit,
    ends: () => ends,
    async send(bytes) {
      await new Promise((resolve) => far.write(bytes, resolve));
      await clock.settle();
    },
  };
}

/** Messages of a dialer that take so many bytes together, headers included. */
function messages(bytes: number): Uint8Array {
  const payload = new Uint8Array(bytes / 16 - 8);
  const message = Buffer.concat([wireHeader(OPCODE.binary, payload.length, KEY), payload]);
  return Buffer.concat(Array.from({ length: 16 }, () => message));
}

test("a peer may send so much before it is admitted, and a byte more closes the channel", async () => {
  const { send, ends } = flooded();
  await send(messages(MAX_EARLY_BYTES));
  expect(ends()).toEqual([]);
  await send(new Uint8Array([0x82]));
  expect(ends()).toEqual([{ code: 1_008, reason: "" }]);
});

test("a peer that is admitted may send as much as it likes", async () => {
  const { send, ends, admit } = flooded();
  await send(messages(MAX_EARLY_BYTES));
  admit();
  for (let round = 0; round < 4; round += 1) await send(messages(MAX_EARLY_BYTES));
  expect(ends()).toEqual([]);
});
