import { ConnectError, type Offsets, type WindowPayload } from "@cluster-connect/protocol";
import type { Budget } from "../bytes/budget.ts";
import { type ByteQueue, createByteQueue } from "../bytes/byte-queue.ts";
import type { SlabPool } from "../bytes/slab-pool.ts";
import { ReceiveWindow } from "./window.ts";
import { WindowGrowth } from "./window-growth.ts";

/** The direction towards an endpoint: bytes that came, bytes that its consumer took, and the credit for them. */
export class ReceivingHalf {
  /** Bytes from the last one given back to the last one received. */
  readonly #bytes: ByteQueue;
  readonly #window: ReceiveWindow;
  /** None before there was bulk: most streams are small. */
  #growth: WindowGrowth | undefined;
  /** The window at the start. */
  readonly initialBytes: number;
  #taken = 0;
  #final: number | undefined;
  #finTaken = false;

  /** @param unaskedBytes a taker owes the bytes that an opener may send unasked, with any window of its own. */
  constructor(windowBytes: number, unaskedBytes: number, slabs: SlabPool) {
    this.#bytes = createByteQueue(slabs);
    this.initialBytes = windowBytes;
    this.#window = new ReceiveWindow(windowBytes, unaskedBytes);
  }

  /** Bytes that came and were not taken. */
  get unreadBytes(): number {
    return this.#bytes.end - this.#taken;
  }

  get takenBytes(): number {
    return this.#taken;
  }

  get windowBytes(): number {
    return this.#window.windowBytes;
  }

  /** Bytes that the window has grown by. */
  get grownBytes(): number {
    return this.#window.windowBytes - this.initialBytes;
  }

  get finTaken(): boolean {
    return this.#finTaken;
  }

  /** @throws ConnectError `CC_STREAM_STATE` for an empty payload or one after FIN, `CC_FLOW_CONTROL` beyond the credit. */
  receive(payload: Uint8Array): void {
    if (payload.length === 0) throw new ConnectError("CC_STREAM_STATE", "DATA without a byte");
    if (this.#final !== undefined) throw new ConnectError("CC_STREAM_STATE", "DATA after FIN");
    this.#window.check(this.#bytes.end + payload.length);
    this.#bytes.append(payload);
  }

  /**
   * @returns whether this was said before, which a RESUME makes possible.
   * @throws ConnectError `CC_STREAM_STATE` when the direction has not come to this offset.
   */
  receiveFin(final: number): boolean {
    const repeated = this.#final !== undefined;
    if (final !== (this.#final ?? this.#bytes.end)) {
      throw new ConnectError("CC_STREAM_STATE", `FIN at ${final} after ${this.#bytes.end} bytes`);
    }
    this.#final = final;
    return repeated;
  }

  /** The next bytes; they hold true until {@link giveBack}. */
  take(): Uint8Array | undefined {
    const view = this.#bytes.view(this.#taken, Number.MAX_SAFE_INTEGER);
    this.#taken += view?.length ?? 0;
    return view;
  }

  /** So many of the bytes that were taken, the oldest ones, are needed no more. */
  giveBack(bytes: number): void {
    this.#bytes.dropTo(Math.min(this.#taken, this.#bytes.start + bytes));
  }

  /** Whether FIN comes next and was not taken before. */
  takeFin(): boolean {
    if (this.#final === undefined || this.#taken < this.#final || this.#finTaken) return false;
    this.#finTaken = true;
    return true;
  }

  /** Whether enough was taken to give credit for it. */
  get creditDue(): boolean {
    return this.#window.due(this.#consumed);
  }

  /**
   * The content of the next WINDOW; the window may have grown.
   *
   * @param budget bytes that windows may grow by.
   */
  credit(nowMs: number, maxWindowBytes: number, budget: Budget): WindowPayload {
    const consumed = this.#consumed;
    if (!this.#window.due(consumed)) return this.#window.announce(consumed);
    this.#growth ??= new WindowGrowth(this.#window.windowBytes);
    const keepsUp = this.unreadBytes <= this.#window.windowBytes / 2;
    return this.#window.announce(consumed, this.#growth.next(consumed, nowMs, keepsUp, maxWindowBytes, budget));
  }

  /** Offsets that the peer needs to go on over another channel. Sending them promises the window in them. */
  offsets(): Offsets {
    const received = this.#bytes.end + (this.#final === undefined ? 0 : 1);
    const { consumed, windowBytes } = this.#window.announce(this.#consumed);
    // A promise over an earlier channel stays, and a relay on the new way has to know it.
    return { received, consumed, windowBytes: Math.max(windowBytes, this.#window.limit - consumed) };
  }

  clear(): void {
    this.#bytes.clear();
    this.#taken = this.#bytes.end;
  }

  /** FIN counts as one byte. */
  get #consumed(): number {
    return this.#taken + (this.#finTaken ? 1 : 0);
  }
}
