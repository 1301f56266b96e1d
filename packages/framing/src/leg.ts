import { type ConnectError, type ErrorCode, encodeEnd, type FrameType, type StreamId } from "@cluster-connect/protocol";
import type { Frame } from "./decode.ts";
import type { StreamHost, StreamMember } from "./stream-host.ts";

/** What a leg's owner decides: everything that needs to know both legs. */
export interface LegOwner {
  frame(leg: Leg, frame: Frame): void;
  fail(leg: Leg, error: ConnectError): void;
  lost(leg: Leg, error: ConnectError): void;
}

interface Waiting {
  readonly type: FrameType;
  readonly payload: Uint8Array;
}

/** One side of a forwarded stream: a member of one session that holds frames of the other side until their turn. */
export class Leg implements StreamMember {
  readonly side: "opener" | "taker";
  readonly #owner: LegOwner;
  #host: StreamHost | undefined;
  #streamId: StreamId | undefined;
  /** DATA, and FIN behind DATA. */
  #waiting: Waiting[] = [];
  #next = 0;

  constructor(side: "opener" | "taker", owner: LegOwner) {
    this.side = side;
    this.#owner = owner;
  }

  attach(host: StreamHost, streamId: StreamId): void {
    this.#host = host;
    this.#streamId = streamId;
  }

  /** Sends a frame before any that waits. */
  send(type: FrameType, payload: Uint8Array): void {
    if (this.#host !== undefined && this.#streamId !== undefined) this.#host.send(type, this.#streamId, [payload]);
  }

  /** Sends DATA when its turn comes, and FIN after it. */
  queue(type: "DATA" | "FIN", payload: Uint8Array): void {
    if (type === "FIN" && this.#waiting.length === this.#next) {
      this.send(type, payload);
      return;
    }
    this.#waiting.push({ type, payload });
    this.#host?.wake(this);
  }

  reset(code: ErrorCode, text: string): void {
    this.send("RESET", encodeEnd({ code, text }));
  }

  /** Leaves the session; what waits is dropped. */
  release(): void {
    const host = this.#host;
    const streamId = this.#streamId;
    this.#host = undefined;
    this.#waiting = [];
    this.#next = 0;
    if (host !== undefined && streamId !== undefined) host.release(streamId, this);
  }

  frame(frame: Frame): void {
    this.#owner.frame(this, frame);
  }

  fail(error: ConnectError): void {
    this.#owner.fail(this, error);
  }

  lost(error: ConnectError): void {
    this.#host = undefined;
    this.#owner.lost(this, error);
  }

  turn(): { readonly bytes: number; readonly more: boolean } {
    const frame = this.#shift();
    if (frame === undefined) return { bytes: 0, more: false };
    this.send(frame.type, frame.payload);
    if (this.#waiting[this.#next]?.type === "FIN") {
      const fin = this.#shift();
      if (fin !== undefined) this.send("FIN", fin.payload);
    }
    return { bytes: frame.payload.length, more: this.#next < this.#waiting.length };
  }

  #shift(): Waiting | undefined {
    const frame = this.#waiting[this.#next];
    if (frame === undefined) return undefined;
    this.#next += 1;
    if (this.#next === this.#waiting.length) {
      this.#waiting = [];
      this.#next = 0;
    } else if (this.#next >= 64 && this.#next * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#next);
      this.#next = 0;
    }
    return frame;
  }
}
