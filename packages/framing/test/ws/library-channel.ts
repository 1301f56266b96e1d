import type { RawData, WebSocket } from "ws";
import { type ChannelListener, CLOSE_NOT_BINARY, type MessageChannel } from "../../src/channel.ts";

/** The low mark of `bufferedBytes`: when it falls below, `drain` is called. */
const LOW_BYTES = 131_072;

/** A channel made of a WebSocket of the library `ws`: what another implementation does with ours. */
export function libraryChannel(socket: WebSocket): MessageChannel {
  let listener: ChannelListener | undefined;
  let early: Uint8Array[] = [];
  let message: Uint8Array[] = [];
  let ended: { readonly code: number; readonly reason: string } | undefined;
  let waitsForDrain = false;

  socket.on("message", (payload: RawData, isBinary: boolean) => {
    if (!isBinary) {
      socket.close(CLOSE_NOT_BINARY, "binary messages only");
      return;
    }
    const bytes = bytesOf(payload);
    if (listener === undefined) early.push(bytes);
    else listener.message(bytes);
  });
  socket.on("close", (code, reason) => {
    ended = { code, reason: reason.toString("utf8") };
    listener?.close(ended);
  });
  // The close that follows an error says its meaning.
  socket.on("error", () => {});

  function onSent(): void {
    if (waitsForDrain && socket.bufferedAmount <= LOW_BYTES) {
      waitsForDrain = false;
      listener?.drain();
    }
  }

  return {
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    listen(next) {
      listener = next;
      const waiting = early;
      early = [];
      // In a turn of its own, so that the listener has finished setting itself up.
      queueMicrotask(() => {
        for (const bytes of waiting) next.message(bytes);
        if (ended !== undefined) next.close(ended);
      });
    },
    append(parts) {
      for (const part of parts) message.push(Buffer.from(part));
    },
    flush() {
      const bytes = Buffer.concat(message);
      message = [];
      if (socket.readyState !== socket.OPEN || bytes.length === 0) return;
      waitsForDrain = true;
      socket.send(bytes, { binary: true, compress: false }, onSent);
    },
    admit() {},
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    close(code, reason) {
      if (socket.isPaused) socket.resume();
      socket.close(code, reason);
    },
    terminate: () => socket.terminate(),
  };
}

function bytesOf(payload: RawData): Uint8Array {
  if (Array.isArray(payload)) return Buffer.concat(payload);
  return payload instanceof ArrayBuffer ? new Uint8Array(payload) : payload;
}
