import { type FrameType, HEADER_BYTES, MAX_MESSAGE_BYTES } from "@cluster-connect/protocol";
import type { MessageChannel } from "./channel.ts";
import { frameHeader, payloadBytes } from "./encode.ts";
import type { HopSender } from "./hop-window.ts";
import { createScheduler, TURN_BYTES } from "./scheduler.ts";
import type { StreamMember } from "./stream-host.ts";

/** DATA waits for its turn while this much has not left the process: the queue stays where turns are taken. */
const CHANNEL_HIGH_BYTES = 262_144;

/** Frames on their way into a channel: gathered into messages, DATA by turns and within the hop window. */
export interface Outbox {
  /** Sends a frame with the next message, before DATA that waits. */
  send(type: FrameType, streamId: number, parts: readonly Uint8Array[]): void;
  /** Sends a frame at once, as a message of its own and even before {@link open}. */
  sendFirst(type: FrameType, parts: readonly Uint8Array[]): void;
  wake(member: StreamMember): void;
  remove(member: StreamMember): void;
  /** Until this is called, frames are kept back: the peer takes none before the handshake's. */
  open(): void;
  /** There may be room now: sends what waits. */
  flush(): void;
  /** Drops everything that waits; nothing is sent any more. */
  close(): void;
  /** DATA bytes handed to the channel. */
  readonly dataBytes: number;
}

export function createOutbox(channel: MessageChannel, hop: HopSender): Outbox {
  const scheduler = createScheduler<StreamMember>();
  let parts: Uint8Array[] = [];
  let partsBytes = 0;
  let state: "held" | "open" | "closed" = "held";
  let scheduled = false;
  let dataBytes = 0;
  // Since the path last held DATA back, there was always some that waited.
  let hungry = false;

  function sendMessage(): void {
    if (parts.length === 0) return;
    const message = parts;
    parts = [];
    partsBytes = 0;
    channel.send(message);
  }

  function put(type: FrameType, streamId: number, payload: readonly Uint8Array[]): void {
    const length = payloadBytes(payload);
    if (partsBytes + HEADER_BYTES + length > MAX_MESSAGE_BYTES && state === "open") sendMessage();
    parts.push(frameHeader(type, streamId, length), ...payload);
    partsBytes += HEADER_BYTES + length;
    if (type === "DATA") {
      dataBytes += length;
      hop.sent(length, hungry);
    }
  }

  function schedule(): void {
    if (scheduled || state !== "open") return;
    scheduled = true;
    queueMicrotask(flush);
  }

  function flush(): void {
    scheduled = false;
    if (state !== "open") return;
    while (channel.bufferedBytes + partsBytes < CHANNEL_HIGH_BYTES && hop.open) {
      const member = scheduler.head();
      if (member === undefined) break;
      const { bytes, more } = member.turn(scheduler.size > 1 ? Math.min(TURN_BYTES, hop.turnBytes) : hop.turnBytes);
      scheduler.sent(member, bytes, more);
    }
    hungry = scheduler.size > 0;
    sendMessage();
  }

  return {
    get dataBytes() {
      return dataBytes;
    },
    send(type, streamId, payload) {
      if (state === "closed") return;
      put(type, streamId, payload);
      schedule();
    },
    sendFirst(type, payload) {
      if (state === "closed") return;
      channel.send([frameHeader(type, 0, payloadBytes(payload)), ...payload]);
    },
    wake(member) {
      if (state === "closed") return;
      scheduler.wake(member);
      schedule();
    },
    remove: (member) => scheduler.remove(member),
    open() {
      if (state !== "held") return;
      state = "open";
      // What was kept back may be longer than one message: cut it at frames.
      const held = parts;
      parts = [];
      partsBytes = 0;
      sendHeld(held);
      schedule();
    },
    flush,
    close() {
      state = "closed";
      parts = [];
      partsBytes = 0;
    },
  };

  function sendHeld(held: readonly Uint8Array[]): void {
    for (const part of held) {
      if (partsBytes + part.length > MAX_MESSAGE_BYTES) sendMessage();
      parts.push(part);
      partsBytes += part.length;
    }
  }
}
