import type { Duplex } from "node:stream";
import { type ChannelEnd, type ChannelListener, CLOSE_LOST, CLOSE_NORMAL, type MessageChannel } from "../channel.ts";
import { discard } from "../discard.ts";
import type { DirectRead } from "./direct-read.ts";
import { createOutgoing, type Masking } from "./outgoing.ts";
import { createWireReader, OPCODE } from "./wire.ts";

/** The low mark of `bufferedBytes`: when it falls below, `drain` is called. */
const LOW_BYTES = 131_072;
/** How long a close waits for the peer's answer before the socket is dropped. */
const CLOSE_TIMEOUT_MS = 3_000;
const NO_STATUS = 1005;

/**
 * A channel over a socket whose upgrade to WebSocket is done.
 *
 * @param head bytes that came with the upgrade.
 * @param direct how the socket reads, where it was made for that.
 */
export function socketChannel(socket: Duplex, head: Uint8Array, masking: Masking, direct?: DirectRead): MessageChannel {
  let listener: ChannelListener | undefined;
  let state: "open" | "closing" | "closed" = "open";
  let paused = false;
  let waitsForDrain = false;
  let end: ChannelEnd = { code: CLOSE_LOST, reason: "" };
  let told = false;
  let closeTimer: NodeJS.Timeout | undefined;

  const reader = createWireReader(masking === "none", {
    bytes: (piece) => listener?.message(piece),
    ping: (payload) => outgoing.control(OPCODE.pong, payload),
    close(code, reason) {
      end = { code: code === NO_STATUS ? CLOSE_NORMAL : code, reason };
      beginClose(end.code, "");
      outgoing.end();
    },
  });
  const outgoing = createOutgoing(socket, masking, () => {
    if (!waitsForDrain || outgoing.bytes > LOW_BYTES) return;
    waitsForDrain = false;
    listener?.drain();
  });

  function read(chunk: Uint8Array): void {
    const broken = reader.push(chunk);
    if (broken === undefined) return;
    end = { code: broken, reason: "" };
    beginClose(broken, "");
    outgoing.end();
  }

  function beginClose(code: number, reason: string): void {
    if (state !== "open") return;
    state = "closing";
    const text = Buffer.from(reason.slice(0, 100));
    const payload = Buffer.alloc(2 + text.length);
    payload.writeUInt16BE(code, 0);
    text.copy(payload, 2);
    if (socket.writable) outgoing.control(OPCODE.close, payload);
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
  if (direct === undefined) {
    socket.on("data", (chunk: Buffer) => {
      read(chunk);
      discard(chunk);
    });
  }
  socket.on("end", () => outgoing.end());
  // What an error means is told by the close that follows it.
  socket.on("error", () => {});
  socket.on("close", onClosed);
  if (socket.destroyed) onClosed();

  return {
    get bufferedBytes() {
      return outgoing.bytes;
    },
    listen(next) {
      listener = next;
      // In a turn of its own, so that whoever listens has finished setting itself up.
      queueMicrotask(() => {
        if (head.length > 0) read(head);
        direct?.begin(read);
        if (!paused) socket.resume();
        tellEnd();
      });
    },
    append(parts) {
      if (state === "open" && socket.writable) outgoing.append(parts);
    },
    flush() {
      waitsForDrain = true;
      outgoing.flush();
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
