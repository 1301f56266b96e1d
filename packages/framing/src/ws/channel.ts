import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { type ChannelEnd, type ChannelListener, CLOSE_LOST, CLOSE_NORMAL, type MessageChannel } from "../channel.ts";
import { payloadBytes } from "../encode.ts";
import { applyMask } from "./mask.ts";
import { createWireReader, OPCODE, wireHeader } from "./wire.ts";

/** The low mark of `bufferedBytes`: when it falls below, `drain` is called. */
const LOW_BYTES = 131_072;
/** How long a close waits for the peer's answer before the socket is dropped. */
const CLOSE_TIMEOUT_MS = 3_000;
const NO_STATUS = 1005;
const NO_MASK = new Uint8Array(4);

/**
 * How this side masks what it sends: an acceptor must not; a dialer must, and its key may be zero inside TLS, where
 * nobody on the way could be confused by what we send.
 */
export type Masking = "none" | "zero" | "random";

/** A channel over a socket whose upgrade to WebSocket is done. */
export function socketChannel(socket: Duplex, head: Uint8Array, masking: Masking): MessageChannel {
  let listener: ChannelListener | undefined;
  let state: "open" | "closing" | "closed" = "open";
  let paused = false;
  let waitsForDrain = false;
  let end: ChannelEnd = { code: CLOSE_LOST, reason: "" };
  let told = false;
  let closeTimer: NodeJS.Timeout | undefined;

  const reader = createWireReader(masking === "none", {
    bytes: (piece) => listener?.message(piece),
    ping: (payload) => write(OPCODE.pong, [payload]),
    close(code, reason) {
      end = { code: code === NO_STATUS ? CLOSE_NORMAL : code, reason };
      beginClose(end.code, "");
      socket.end();
    },
  });

  function read(chunk: Uint8Array): void {
    const broken = reader.push(chunk);
    if (broken === undefined) return;
    end = { code: broken, reason: "" };
    beginClose(broken, "");
    socket.end();
  }

  function write(opcode: number, parts: readonly Uint8Array[]): void {
    const length = payloadBytes(parts);
    waitsForDrain = true;
    socket.cork();
    if (masking === "random") {
      const key = randomBytes(4);
      socket.write(wireHeader(opcode, length, key));
      socket.write(maskedCopy(parts, length, key), onSent);
    } else {
      const header = wireHeader(opcode, length, masking === "zero" ? NO_MASK : undefined);
      socket.write(header, length === 0 ? onSent : undefined);
      for (const [index, part] of parts.entries()) {
        if (part.length > 0) socket.write(part, index === parts.length - 1 ? onSent : undefined);
      }
    }
    socket.uncork();
  }

  function onSent(): void {
    if (!waitsForDrain || socket.writableLength > LOW_BYTES) return;
    waitsForDrain = false;
    listener?.drain();
  }

  function beginClose(code: number, reason: string): void {
    if (state !== "open") return;
    state = "closing";
    const text = Buffer.from(reason.slice(0, 100));
    const payload = Buffer.alloc(2 + text.length);
    payload.writeUInt16BE(code, 0);
    text.copy(payload, 2);
    if (socket.writable) write(OPCODE.close, [payload]);
    closeTimer = setTimeout(() => socket.destroy(), CLOSE_TIMEOUT_MS);
  }

  function onClosed(): void {
    state = "closed";
    clearTimeout(closeTimer);
    tellEnd();
  }

  function tellEnd(): void {
    if (told || state !== "closed" || listener === undefined) return;
    told = true;
    listener.close(end);
  }

  socket.pause();
  socket.on("data", read);
  socket.on("end", () => socket.end());
  // What an error means is told by the close that follows it.
  socket.on("error", () => {});
  socket.on("close", onClosed);
  if (socket.destroyed) onClosed();

  return {
    get bufferedBytes() {
      return socket.writableLength;
    },
    listen(next) {
      listener = next;
      // In a turn of its own, so that whoever listens has finished setting itself up.
      queueMicrotask(() => {
        if (head.length > 0) read(head);
        if (!paused) socket.resume();
        tellEnd();
      });
    },
    send(parts) {
      if (state === "open" && socket.writable) write(OPCODE.binary, parts);
    },
    pause() {
      paused = true;
      socket.pause();
    },
    resume() {
      paused = false;
      if (listener !== undefined) socket.resume();
    },
    close(code, reason) {
      paused = false;
      socket.resume();
      beginClose(code, reason);
    },
    terminate() {
      socket.destroy();
    },
  };
}

function maskedCopy(parts: readonly Uint8Array[], length: number, key: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  applyMask(bytes, key, 0);
  return bytes;
}
