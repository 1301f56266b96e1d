import {
  ConnectError,
  type ErrorCode,
  encodeEnd,
  type FrameType,
  MAX_PAYLOAD_BYTES,
  type StreamId,
} from "@cluster-connect/protocol";
import { FAIR_BYTES } from "../bytes/budget.ts";
import { type ByteQueue, createByteQueue } from "../bytes/byte-queue.ts";
import type { Frame } from "../frames/decode.ts";
import { payloadBytes } from "../frames/encode.ts";
import type { StreamHost, StreamMember } from "../stream/member.ts";

/** Decisions of a leg's owner: everything that needs to know both legs. */
export interface LegOwner {
  frame(leg: Leg, frame: Frame): void;
  fail(leg: Leg, error: ConnectError): void;
  lost(leg: Leg, error: ConnectError): void;
}

/** One side of a forwarded stream: a member of one session that holds frames of the other side until their turn. */
export class Leg implements StreamMember {
  readonly side: "opener" | "taker";
  readonly #owner: LegOwner;
  #host: StreamHost | undefined;
  #streamId: StreamId | undefined;
  /** Bytes of the other side that wait for a turn, and the FIN behind them. */
  #waiting: ByteQueue = createByteQueue();
  #fin: Uint8Array | undefined;

  constructor(side: "opener" | "taker", owner: LegOwner) {
    this.side = side;
    this.#owner = owner;
  }

  attach(host: StreamHost, streamId: StreamId): void {
    this.#host = host;
    this.#streamId = streamId;
    this.#waiting = createByteQueue(host.slabs);
  }

  /** Sends a frame before any that waits. */
  send(type: FrameType, payload: Uint8Array): void {
    if (this.#host !== undefined && this.#streamId !== undefined) this.#host.send(type, this.#streamId, [payload]);
  }

  /** Bytes that no turn has taken yet; never more than the credit of their receiver. */
  get waitingBytes(): number {
    return this.#waiting.end - this.#waiting.start;
  }

  /**
   * Sends bytes when their turn comes.
   *
   * @throws ConnectError `CC_CHANNEL_LOST` when too much waits: both ends keep their bytes and may resume.
   */
  queueBytes(payload: Uint8Array): void {
    const host = this.#host;
    if (host === undefined) return;
    this.#waiting.append(payload);
    host.buffers.hold(payload.length);
    if (host.buffers.exceeded && this.waitingBytes > FAIR_BYTES) {
      throw new ConnectError("CC_CHANNEL_LOST", "More waits for this channel than the relay holds; resume the stream");
    }
    host.wake(this);
  }

  /** Sends FIN after the bytes before it. */
  queueFin(payload: Uint8Array): void {
    if (this.waitingBytes === 0) this.send("FIN", payload);
    else this.#fin = payload;
  }

  reset(code: ErrorCode, text: string): void {
    this.send("RESET", encodeEnd({ code, text }));
  }

  /** Leaves the session; waiting bytes are dropped. */
  release(): void {
    const host = this.#host;
    const streamId = this.#streamId;
    this.#drop();
    if (host !== undefined && streamId !== undefined) host.release(streamId, this);
  }

  #drop(): void {
    this.#host?.buffers.release(this.waitingBytes);
    this.#host = undefined;
    this.#waiting.clear();
  }

  frame(frame: Frame): void {
    this.#owner.frame(this, frame);
  }

  fail(error: ConnectError): void {
    this.#owner.fail(this, error);
  }

  lost(error: ConnectError): void {
    this.#drop();
    this.#owner.lost(this, error);
  }

  turn(maxBytes: number): { readonly bytes: number; readonly more: boolean } {
    const host = this.#host;
    const parts = this.#waiting.read(this.#waiting.start, Math.min(maxBytes, MAX_PAYLOAD_BYTES));
    if (host === undefined || this.#streamId === undefined || parts.length === 0) return { bytes: 0, more: false };
    const bytes = payloadBytes(parts);
    host.send("DATA", this.#streamId, parts);
    this.#waiting.dropTo(this.#waiting.start + bytes);
    host.buffers.release(bytes);
    const more = this.waitingBytes > 0;
    if (!more && this.#fin !== undefined) {
      this.send("FIN", this.#fin);
      this.#fin = undefined;
    }
    return { bytes, more };
  }
}
