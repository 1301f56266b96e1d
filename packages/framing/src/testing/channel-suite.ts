import assert from "node:assert/strict";
import type { ChannelEnd, MessageChannel } from "../channel.ts";
import { sendMessage } from "./send-message.ts";

/** Two ends of an open channel, and how to be rid of them. */
export interface ChannelPair {
  readonly near: MessageChannel;
  readonly far: MessageChannel;
  dispose(): Promise<void>;
}

/** One thing that every channel must do. */
export interface ChannelCase {
  readonly name: string;
  run(pair: ChannelPair): Promise<void>;
}

interface Recorder {
  readonly bytes: Promise<Buffer>;
  readonly end: Promise<ChannelEnd>;
}

const MIB = 1_048_576;

/** Listens and keeps what comes; `bytes` resolves when `wanted` bytes came. */
function record(channel: MessageChannel, wanted: number, onDrain: () => void = () => {}): Recorder {
  const bytes = Promise.withResolvers<Buffer>();
  const end = Promise.withResolvers<ChannelEnd>();
  const parts: Uint8Array[] = [];
  let length = 0;
  channel.admit();
  channel.listen({
    message(message) {
      parts.push(Buffer.from(message));
      length += message.length;
      if (length >= wanted) bytes.resolve(Buffer.concat(parts));
    },
    drain: onDrain,
    close: (how) => end.resolve(how),
  });
  return { bytes: bytes.promise, end: end.promise };
}

/** The suite every channel must pass: in memory, and over real sockets. */
export const CHANNEL_SUITE: readonly ChannelCase[] = [
  {
    name: "delivers every byte in order, both ways, whatever the size of the messages",
    async run({ near, far }) {
      const messages = Array.from({ length: 300 }, (_, index) => Buffer.alloc((index * 977) % 69_000, index));
      const expected = Buffer.concat(messages);
      const [atNear, atFar] = [record(near, expected.length), record(far, expected.length)];
      for (const message of messages) {
        sendMessage(near, [message]);
        sendMessage(far, [message.subarray(0, 10), message.subarray(10)]);
      }
      assert.ok((await atFar.bytes).equals(expected));
      assert.ok((await atNear.bytes).equals(expected));
    },
  },
  {
    name: "keeps messages until somebody listens",
    async run({ near, far }) {
      const atNear = record(near, 5);
      sendMessage(near, [Buffer.from("early")]);
      sendMessage(far, [Buffer.from("reply")]);
      await atNear.bytes;
      assert.equal((await record(far, 5).bytes).toString(), "early");
    },
  },
  {
    name: "tells the code of a close, after everything that was sent before it",
    async run({ near, far }) {
      const [atNear, atFar] = [record(near, 1), record(far, MIB)];
      sendMessage(near, [Buffer.alloc(MIB / 16)]);
      for (let index = 1; index < 16; index += 1) sendMessage(near, [Buffer.alloc(MIB / 16)]);
      near.close(1001, "bye");
      assert.equal((await atFar.bytes).length, MIB);
      assert.equal((await atFar.end).code, 1001);
      await atNear.end;
    },
  },
  {
    name: "drops what is sent after a close",
    async run({ near, far }) {
      const atFar = record(far, 4);
      record(near, 1);
      sendMessage(near, [Buffer.from("last")]);
      near.close(1000, "");
      sendMessage(near, [Buffer.from("lost")]);
      await atFar.end;
      assert.equal((await atFar.bytes).toString(), "last");
    },
  },
  {
    name: "ends both sides when one is terminated",
    async run({ near, far }) {
      const [atNear, atFar] = [record(near, 1), record(far, 1)];
      near.terminate();
      assert.equal((await atFar.end).code, 1006);
      await atNear.end;
    },
  },
  {
    name: "delivers nothing new while paused, counts what waits, and says when there is room again",
    async run({ near, far }) {
      const message = Buffer.alloc(65_536, 1);
      const drained = Promise.withResolvers<void>();
      record(near, 1, () => drained.resolve());
      const total = 64 * MIB;
      const atFar = record(far, total);
      far.pause();
      for (let sent = 0; sent < total; sent += message.length) sendMessage(near, [message]);
      assert.ok(near.bufferedBytes > MIB, "a paused peer must be noticed");
      far.resume();
      await drained.promise;
      assert.equal((await atFar.bytes).length, total);
      assert.equal(near.bufferedBytes, 0);
    },
  },
];
