import { type FrameType, HEADER_BYTES, MAX_MESSAGE_BYTES } from "@cluster-connect/protocol";
import type { MessageChannel } from "../channel.ts";
import { frameHeader, payloadBytes } from "../frames/encode.ts";
import type { StreamMember } from "../stream/member.ts";
import type { HopSender } from "./hop-window.ts";
import { createScheduler, TURN_BYTES } from "./scheduler.ts";

/** DATA waits for its turn while this much has not left the process: the queue stays where turns are taken. */
const CHANNEL_HIGH_BYTES = 262_144;
/**
 * While this much has not left, only the newest credit of each stream is kept. A relay passes on frames of another
 * channel, whose sender does not notice that this one is slow. A peer that gives credit without end costs no more than
 * this.
 */
const CREDIT_HIGH_BYTES = 1_048_576;

/** Frames on their way into a channel: gathered into messages, DATA by turns and within the hop window. */
export interface FrameWriter {
  /** Sends a frame with the next message, before DATA that waits; the parts of DATA are copied before this returns. */
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

export function createFrameWriter(channel: MessageChannel, hop: HopSender): FrameWriter {
  const scheduler = createScheduler<StreamMember>();
  let held: (readonly Uint8Array[])[] = [];
  // By stream; each says all that the ones before it said.
  const credit = new Map<number, readonly Uint8Array[]>();
  let messageBytes = 0;
  let state: "held" | "open" | "closed" = "held";
  let scheduled = false;
  let dataBytes = 0;
  // Since the path last held DATA back, there was always some that waited.
  let hungry = false;

  function put(type: FrameType, streamId: number, payload: readonly Uint8Array[]): void {
    const length = payloadBytes(payload);
    const frame = [frameHeader(type, streamId, length), ...payload];
    if (state === "held") held.push(frame);
    else append(frame, HEADER_BYTES + length);
    if (type === "DATA") {
      dataBytes += length;
      hop.sent(length, hungry);
    }
  }

  function append(frame: readonly Uint8Array[], bytes: number): void {
    if (messageBytes + bytes > MAX_MESSAGE_BYTES) endMessage();
    channel.append(frame);
    messageBytes += bytes;
  }

  function endMessage(): void {
    messageBytes = 0;
    channel.flush();
  }

  function schedule(): void {
    if (scheduled || state !== "open") return;
    scheduled = true;
    queueMicrotask(flush);
  }

  function flush(): void {
    scheduled = false;
    if (state !== "open") return;
    if (credit.size > 0 && channel.bufferedBytes <= CREDIT_HIGH_BYTES) {
      for (const [streamId, payload] of credit) put("WINDOW", streamId, payload);
      credit.clear();
    }
    while (channel.bufferedBytes < CHANNEL_HIGH_BYTES && hop.open) {
      const member = scheduler.head();
      if (member === undefined) break;
      const { bytes, more } = member.turn(scheduler.size > 1 ? Math.min(TURN_BYTES, hop.turnBytes) : hop.turnBytes);
      scheduler.sent(member, bytes, more);
    }
    hungry = scheduler.size > 0;
    if (messageBytes > 0) endMessage();
  }

  return {
    get dataBytes() {
      return dataBytes;
    },
    send(type, streamId, payload) {
      if (state === "closed") return;
      if (type === "WINDOW" && channel.bufferedBytes > CREDIT_HIGH_BYTES) credit.set(streamId, payload);
      else put(type, streamId, payload);
      schedule();
    },
    sendFirst(type, payload) {
      if (state === "closed") return;
      if (messageBytes > 0) endMessage();
      channel.append([frameHeader(type, 0, payloadBytes(payload)), ...payload]);
      channel.flush();
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
      for (const frame of held) append(frame, payloadBytes(frame));
      held = [];
      schedule();
    },
    flush,
    close() {
      state = "closed";
      held = [];
      credit.clear();
    },
  };
}
