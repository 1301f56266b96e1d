import { encodeU64 } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import type { MessageChannel } from "../../src/channel.ts";
import { encodeFrame } from "../../src/frames/encode.ts";
import { createFrameReader } from "../../src/hop/frame-reader.ts";

const CHANNEL_FULL_BYTES = 2_097_152;
const PING = encodeFrame({ type: "PING", streamId: 0, parts: [encodeU64(1)] });

/** A reader of a channel in which so many bytes wait to leave. */
function reading(bufferedBytes: number) {
  const state = { bufferedBytes, paused: false, frames: 0 };
  const channel: MessageChannel = {
    get bufferedBytes() {
      return state.bufferedBytes;
    },
    listen() {},
    append() {},
    flush() {},
    admit() {},
    pause() {
      state.paused = true;
    },
    resume() {
      state.paused = false;
    },
    close() {},
    terminate() {},
  };
  const listener = {
    frame() {
      state.frames += 1;
    },
    failed: (error: Error) => expect.fail(error.message),
  };
  return { state, reader: createFrameReader(channel, listener) };
}

test("a peer that reads its answers in time is read on", () => {
  const { state, reader } = reading(CHANNEL_FULL_BYTES);
  for (let count = 0; count < 10; count += 1) reader.push(PING);
  expect(state).toMatchObject({ frames: 10, paused: false });
});

test("a peer that asks and does not read is read no further, until what waits for it has left", () => {
  const { state, reader } = reading(CHANNEL_FULL_BYTES + 1);
  for (let count = 0; count < 10; count += 1) reader.push(PING);
  expect(state).toMatchObject({ frames: 1, paused: true });
  state.bufferedBytes = 0;
  reader.drained();
  expect(state).toMatchObject({ frames: 10, paused: false });
});
