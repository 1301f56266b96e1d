import { buffer } from "node:stream/consumers";
import { ConnectError } from "@cluster-connect/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type FinalMessage, finalMessageOf } from "../../src/ending/final-message.ts";
import { createFinalMessageStream } from "../../src/ending/final-message-stream.ts";

const REASON = new ConnectError("CC_TOKEN_EXPIRED", "The caller's token has expired while the stream was open");

function wordOf(upgrade: string, streamProtocol = ""): FinalMessage {
  const word = finalMessageOf(upgrade, streamProtocol);
  if (word === undefined) throw new Error("this protocol has a word");
  return word;
}

/** A SPDY data frame, or a binary WebSocket frame, of the length. */
function frame(upgrade: string, length: number): Buffer {
  const head =
    upgrade === "websocket" ? [0x82, 126, length >> 8, length & 0xff] : [0, 0, 0, 5, 0, 0, length >> 8, length];
  return Buffer.concat([Buffer.from(head), Buffer.alloc(length, 0x88)]);
}

const SPDY = wordOf("SPDY/3.1", "v4.channel.k8s.io").frame(REASON);

test("over SPDY the word is a Status on the stream of the command's outcome", () => {
  expect([...SPDY.subarray(0, 5)]).toEqual([0, 0, 0, 1, 1]);
  expect(JSON.parse(SPDY.subarray(8).toString())).toMatchObject({
    kind: "Status",
    status: "Failure",
    code: 401,
    message: "Unauthorized: The caller's token has expired while the stream was open (CC_TOKEN_EXPIRED)",
  });
});

test("before that protocol's fourth version the word is a line of text", () => {
  expect(wordOf("SPDY/3.1", "v2.channel.k8s.io").frame(REASON).subarray(8).toString()).toBe(REASON.message);
});

test.each(["", "channel.k8s.io", "portforward.k8s.io"])(
  "there is no place for a word in SPDY streams of %j",
  (name) => {
    expect(finalMessageOf("SPDY/3.1", name)).toBeUndefined();
  },
);

test.each(["websocket", "SPDY/3.1"])(
  "%s: the word stands between two frames, whole, and is the last",
  async (upgrade) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 126, max: 3_000 }), { minLength: 1, maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 2_000 }), { maxLength: 12 }),
        fc.nat(12),
        async (lengths, sizes, endAfter) => {
          const frames = lengths.map((length) => frame(upgrade, length));
          const whole = Buffer.concat(frames);
          const word = wordOf(upgrade, "v4.channel.k8s.io");
          const towardsCaller = createFinalMessageStream(word, () => {});
          const read = buffer(towardsCaller.stream);
          let at = 0;
          for (const [index, size] of [...sizes, whole.length].entries()) {
            if (index === Math.min(endAfter, sizes.length)) towardsCaller.end(REASON);
            towardsCaller.stream.write(whole.subarray(at, at + size));
            at += size;
          }
          towardsCaller.stream.end();
          const got = await read;
          const said = word.frame(REASON);
          expect(got.subarray(got.length - said.length)).toEqual(said);
          const passed = got.subarray(0, got.length - said.length);
          expect(whole.subarray(0, passed.length)).toEqual(passed);
          const ends = frames.map((_, index) => Buffer.concat(frames.slice(0, index + 1)).length);
          expect([0, ...ends]).toContain(passed.length);
        },
      ),
    );
  },
);

test("after the apiserver's own end nothing is added", async () => {
  const towardsCaller = createFinalMessageStream(wordOf("websocket"), () => {});
  const read = buffer(towardsCaller.stream);
  towardsCaller.stream.end(frame("websocket", 200));
  const got = await read;
  towardsCaller.end(REASON);
  expect(got).toEqual(frame("websocket", 200));
});
