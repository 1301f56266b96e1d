import { MAX_PAYLOAD_BYTES } from "@cluster-connect/protocol";
import { type ByteQueue, createByteQueue } from "../bytes/byte-queue.ts";
import type { SlabPool } from "../bytes/slab-pool.ts";
import { payloadBytes } from "../frames/encode.ts";
import { creditStep, SendWindow } from "./window.ts";

/** Bytes that may wait for a turn: as many as a hop has room for when it is acknowledged. */
const WAITING_BYTES = 262_144;

/** Effects of a credit. */
export interface Credited {
  /** Bytes that need not be kept any more. */
  readonly releasedBytes: number;
  /** The peer's consumer took everything up to FIN; told once. */
  readonly finAcked: boolean;
}

/**
 * The direction away from an endpoint: bytes written, bytes that went out, and bytes that a RESUME would send again.
 */
export class SendingHalf {
  /** Bytes from the peer's `consumed` to the last one written. */
  readonly #bytes: ByteQueue;
  readonly #window: SendWindow;
  /** Next offset to send over the channel at hand, and the highest ever sent. */
  #sentOffset = 0;
  #highestSent = 0;
  #finished = false;
  /** FIN went out over the channel at hand; over any. */
  #finSent = false;
  #finEverSent = false;
  #finAcked = false;

  constructor(sendLimit: number, slabs: SlabPool) {
    this.#bytes = createByteQueue(slabs);
    this.#window = new SendWindow(sendLimit);
  }

  get writtenBytes(): number {
    return this.#bytes.end;
  }

  get sentBytes(): number {
    return this.#highestSent;
  }

  /** Bytes that the peer's consumer has not taken. */
  get heldBytes(): number {
    return this.#bytes.end - this.#bytes.start;
  }

  /** Nothing more is written. */
  get finished(): boolean {
    return this.#finished;
  }

  get finAcked(): boolean {
    return this.#finAcked;
  }

  /** Bytes that are written, not sent over this channel, and within the credit. */
  get sendableBytes(): number {
    return Math.min(this.#window.limit, this.#bytes.end) - this.#sentOffset;
  }

  /** Whether everything went out, and less is held than a receiver takes before it gives credit. */
  get isTaken(): boolean {
    return this.#sentOffset === this.#bytes.end && this.heldBytes < this.creditStep;
  }

  /** Bytes that the peer has room for beyond those written. */
  get creditRoom(): number {
    return this.#window.limit - this.#bytes.end;
  }

  /** Bytes that may join those that wait for a turn. */
  get turnRoom(): number {
    return WAITING_BYTES - this.#waitingBytes;
  }

  /** Whether so little waits that a writer that had to stop may go on. */
  get isLow(): boolean {
    return this.#waitingBytes <= WAITING_BYTES / 2;
  }

  /** So much a receiver takes before it gives credit; with less than this held it may give none. */
  get creditStep(): number {
    return creditStep(this.#window.limit - this.#bytes.start);
  }

  append(chunk: Uint8Array): void {
    this.#bytes.append(chunk);
  }

  finish(): void {
    this.#finished = true;
  }

  /** The payload of the next DATA frame, which counts as sent; true until the peer acknowledges it. */
  nextData(maxBytes: number): readonly Uint8Array[] {
    const parts = this.#bytes.read(this.#sentOffset, Math.min(this.sendableBytes, maxBytes, MAX_PAYLOAD_BYTES));
    this.#sentOffset += payloadBytes(parts);
    this.#highestSent = Math.max(this.#highestSent, this.#sentOffset);
    return parts;
  }

  /** The offset for FIN when nothing is before it any more, once for each channel; it counts as sent. */
  nextFin(): number | undefined {
    if (!this.#finished || this.#finSent || this.#sentOffset < this.#bytes.end) return undefined;
    this.#finSent = true;
    this.#finEverSent = true;
    return this.#bytes.end;
  }

  /** @throws ConnectError `CC_FLOW_CONTROL` when more was consumed than went out over the channel at hand. */
  credit(consumed: number, windowBytes: number): Credited {
    // Bytes that an earlier channel carried do not count: bytes that go out again must still be held.
    this.#window.credit(consumed, windowBytes, this.#sentOffset + (this.#finSent ? 1 : 0));
    const before = this.#bytes.start;
    this.#bytes.dropTo(Math.min(consumed, this.#bytes.end));
    const finAcked = this.#finEverSent && !this.#finAcked && consumed > this.#bytes.end;
    this.#finAcked ||= finAcked;
    return { releasedBytes: this.#bytes.start - before, finAcked };
  }

  /** Whether bytes from this offset on are all held; FIN counts as one byte. */
  holdsFrom(received: number): boolean {
    return received >= this.#bytes.start && received <= this.#sentTo;
  }

  /** Over another channel: bytes from this offset on go out again, and FIN in any case. */
  restartAt(received: number): void {
    this.#sentOffset = Math.min(received, this.#bytes.end);
    this.#finSent = false;
  }

  clear(): void {
    this.#bytes.clear();
  }

  get #waitingBytes(): number {
    return this.#bytes.end - this.#sentOffset;
  }

  get #sentTo(): number {
    return this.#highestSent + (this.#finEverSent ? 1 : 0);
  }
}
