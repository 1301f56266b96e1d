import {
  type Accept,
  ConnectError,
  decodeAccept,
  decodeEnd,
  decodeResumed,
  decodeU64,
  decodeWindow,
  type EndPayload,
  type ErrorCode,
  encodeEnd,
  encodeU64,
  encodeWindow,
  type Offsets,
  type StreamId,
} from "@cluster-connect/protocol";
import { FAIR_BYTES } from "../bytes/budget.ts";
import type { SlabPool } from "../bytes/slab-pool.ts";
import type { Frame } from "../frames/decode.ts";
import { payloadBytes } from "../frames/encode.ts";
import { Attachment, type Holding } from "./attachment.ts";
import { errorOf } from "./end.ts";
import type { EndpointListener } from "./endpoint-listener.ts";
import type { StreamHost, StreamMember } from "./member.ts";
import { ReceivingHalf } from "./receiving.ts";
import { SendingHalf } from "./sending.ts";
import { nextStreamState, type StreamEvent, type StreamState } from "./state.ts";

export interface EndpointOptions {
  readonly side: "opener" | "taker";
  /** Own receive window at the start. */
  readonly windowBytes: number;
  /** The send limit of the peer's first frame: the taker knows it from OPEN. */
  readonly sendLimit: number;
  /** A taker's: bytes that the opener may send with any window of this side's. */
  readonly unaskedBytes?: number;
  /** Memory for held bytes. */
  readonly slabs: SlabPool;
}

/**
 * One end of a stream: offsets, credit, states, and the bytes that a RESUME would send again.
 *
 * It outlives the session it runs in: without an attachment it is suspended, and everything but sending goes on.
 */
export class Endpoint implements StreamMember {
  readonly #listener: EndpointListener;
  readonly #sending: SendingHalf;
  readonly #receiving: ReceivingHalf;
  #state: StreamState;
  #attachment: Attachment | undefined;
  #resuming = false;
  /** The peer's FIN was taken, and that was acknowledged. */
  #finConsumed = false;

  constructor(options: EndpointOptions, listener: EndpointListener) {
    const { side, windowBytes, sendLimit, unaskedBytes = 0, slabs } = options;
    this.#listener = listener;
    this.#sending = new SendingHalf(sendLimit, slabs);
    this.#receiving = new ReceivingHalf(windowBytes, unaskedBytes, slabs);
    this.#state = side === "opener" ? "pending" : "open";
  }

  get state(): StreamState {
    return this.#state;
  }

  get streamId(): StreamId | undefined {
    return this.#attachment?.id;
  }

  get suspended(): boolean {
    return this.#attachment === undefined && this.#state !== "closed";
  }

  /** Bytes held for a RESUME or not sent yet. */
  get retainedBytes(): number {
    return this.#sending.heldBytes;
  }

  /** Whether the peer's consumer has taken what was written, as far as a receiver tells without being asked. */
  get isTaken(): boolean {
    return this.#sending.isTaken;
  }

  /** Bytes that should be written now, at most: no more than wait for a turn already, and than may be held. */
  get room(): number {
    return Math.min(this.#sending.turnRoom, this.holdRoom);
  }

  /**
   * Bytes that may be held beyond those that are. They have the peer's credit, and a stream holds no more than is left
   * for all of the process. It may hold what its peer takes before it gives credit, for the stream to go on.
   */
  get holdRoom(): number {
    const attachment = this.#attachment;
    if (attachment === undefined || this.#resuming || this.#state === "closed") return 0;
    const most = Math.max(this.#sending.creditStep, attachment.host.buffers.restBytes);
    return Math.min(this.#sending.creditRoom, most - this.#sending.heldBytes);
  }

  /** Bytes received that the consumer has not taken. */
  get unreadBytes(): number {
    return this.#receiving.unreadBytes;
  }

  /** Own receive window as it was last told. */
  get windowBytes(): number {
    return this.#receiving.windowBytes;
  }

  get writtenBytes(): number {
    return this.#sending.writtenBytes;
  }

  get takenBytes(): number {
    return this.#receiving.takenBytes;
  }

  /** Bytes that went out; a write below is done. */
  get sentBytes(): number {
    return this.#sending.sentBytes;
  }

  /** Both directions ended on this side: nothing is left to do for the user of the bytes. */
  get over(): boolean {
    return this.#state === "closed" || (this.#sending.finished && this.#receiving.finTaken);
  }

  /** Joins a session under an id: for OPEN and ACCEPT. */
  attach(host: StreamHost, id: StreamId): void {
    this.#join(host, id);
    this.#wake();
  }

  /** Bytes for the peer; a copy is kept until its consumer took them. */
  write(chunk: Uint8Array): void {
    if (this.#state === "closed" || this.#sending.finished) return;
    this.#sending.append(chunk);
    this.#attachment?.host.buffers.hold(chunk.length);
    this.#wake();
  }

  /** No more is written: FIN follows the last byte. */
  finish(): void {
    if (this.#state === "closed" || this.#sending.finished) return;
    this.#sending.finish();
    this.#next("finSent");
    this.#sendDueFin();
  }

  /** The next bytes for the consumer, true until {@link giveBack}; undefined when there are none. */
  take(): Uint8Array | undefined {
    const chunk = this.#receiving.take();
    if (chunk === undefined) return undefined;
    this.#attachment?.host.buffers.release(chunk.length);
    this.#giveCredit(false);
    return chunk;
  }

  /** So many of the bytes that were taken, the oldest ones, are needed no more. */
  giveBack(bytes: number): void {
    this.#receiving.giveBack(bytes);
  }

  /** Whether everything was taken and the peer's FIN comes next; then it is taken, once. */
  takeFin(): boolean {
    if (!this.#receiving.takeFin()) return false;
    this.#consumeFin();
    return true;
  }

  /** Ends both directions now and tells the peer. */
  reset(code: ErrorCode, text: string): void {
    if (this.#state === "closed") return;
    this.#sendReset(code, text);
    this.#end(new ConnectError(code, text));
  }

  frame(frame: Frame): void {
    const { type, payload } = frame;
    switch (type) {
      case "DATA":
        this.#onData(payload);
        return;
      case "WINDOW":
        this.#onWindow(payload);
        return;
      case "FIN":
        this.#onFin(decodeU64(payload));
        return;
      case "RESET":
        this.#onReset(decodeEnd(payload));
        return;
      case "ACCEPT":
        this.#onAccept(decodeAccept(payload));
        return;
      case "REJECT":
        this.#onReject(decodeEnd(payload));
        return;
      case "RESUMED":
        this.#onResumed(decodeResumed(payload));
        return;
      case "OPEN":
      case "RESUME":
      case "HELLO":
      case "READY":
      case "PING":
      case "PONG":
      case "GOAWAY":
      case "HOPACK":
      case "RELAYS":
        throw new ConnectError("CC_STREAM_STATE", `${type} does not go with a stream that is ${this.#state}`);
    }
  }

  fail(error: ConnectError): void {
    this.reset(error.code, error.message);
  }

  lost(error: ConnectError): void {
    this.#leave();
    this.#suspend(error);
  }

  turn(maxBytes: number): { readonly bytes: number; readonly more: boolean } {
    const attachment = this.#attachment;
    if (attachment === undefined || this.#resuming) return { bytes: 0, more: false };
    const before = this.#sending.sentBytes;
    const parts = this.#sending.nextData(maxBytes);
    const bytes = payloadBytes(parts);
    if (bytes > 0) attachment.send("DATA", parts);
    if (this.#sending.sentBytes > before) this.#listener.onSent(this.#sending.sentBytes);
    this.#tellRoom();
    this.#sendDueFin();
    // Asked now: a listener that was told that bytes went out may have written more.
    return { bytes, more: this.#attachment === attachment && this.#sending.sendableBytes > 0 };
  }

  /** Leaves its session without an end; the peer learns that this channel is no longer the stream's. */
  detach(code: ErrorCode, text: string): void {
    this.#sendReset(code, text);
  }

  /**
   * The offsets for RESUME, when the opener is about to ask to go on. Nothing is sent until the answer.
   *
   * {@link joinResuming} follows, or {@attachment lost} when no session takes the stream.
   */
  beginResume(): Offsets {
    this.#resuming = true;
    return this.#receiving.offsets();
  }

  /** RESUME went out under this id. */
  joinResuming(host: StreamHost, id: StreamId): void {
    this.#join(host, id);
  }

  /** The opener asks once more for a stream that was never answered: every byte goes out again. */
  reopen(host: StreamHost, id: StreamId): void {
    this.#sending.restartAt(0);
    this.attach(host, id);
    this.#sendDueFin();
  }

  /** @throws ConnectError `CC_RESUME_GAP` when the peer misses bytes that are not held any more, or never sent. */
  checkResume(peer: Offsets): void {
    if (!this.#sending.holdsFrom(peer.received) || peer.consumed > peer.received) {
      throw new ConnectError("CC_RESUME_GAP", "The peer goes on from a byte that is not held");
    }
  }

  /**
   * The taker goes on under a new id, after {@link checkResume}.
   *
   * @param sayResumed sends RESUMED; bytes follow it.
   */
  resumed(host: StreamHost, id: StreamId, peer: Offsets, sayResumed: (own: Offsets) => void): void {
    this.#join(host, id);
    host.resumed();
    sayResumed(this.#receiving.offsets());
    this.#continueFrom(peer);
  }

  /** The peer knows the stream as finished: only its last acknowledgement was lost. */
  conclude(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#detach();
    if (!this.#sending.finAcked) this.#listener.onFinAcked();
    this.#settle(undefined);
  }

  #continueFrom(peer: Offsets): void {
    this.#sending.restartAt(peer.received);
    // FIN is sent again in any case, so that a relay on the new way learns how the direction ends. It is sent first,
    // because the credit may tell that it was acknowledged and that the stream is over.
    this.#sendDueFin();
    this.#credit(peer.consumed, peer.windowBytes);
    this.#consumeFin();
    this.#giveCredit(false);
    this.#wake();
    this.#tellRoom();
  }

  /** Acknowledges the peer's FIN, which needs a channel; the stream is not over before. */
  #consumeFin(): void {
    if (!this.#receiving.finTaken || this.#finConsumed || this.#attachment === undefined || this.#resuming) return;
    this.#finConsumed = true;
    this.#giveCredit(true);
    this.#next("finConsumed");
  }

  #onAccept(accept: Accept): void {
    this.#next("accepted");
    this.#sending.credit(0, accept.windowBytes);
    this.#listener.onAccepted(accept);
    this.#wake();
    this.#tellRoom();
  }

  #onReject(end: EndPayload): void {
    if (!this.#resuming && !this.#state.startsWith("pending")) {
      throw new ConnectError("CC_STREAM_STATE", `REJECT does not go with a stream that is ${this.#state}`);
    }
    this.#detach();
    const error = errorOf(end);
    // OPEN and GOAWAY may have crossed: another session takes the stream.
    if (this.#resuming || error.code === "CC_DRAINING") this.#suspend(error);
    else this.#end(error);
  }

  #onResumed(peer: Offsets): void {
    if (!this.#resuming) {
      throw new ConnectError("CC_STREAM_STATE", `RESUMED does not go with a stream that is ${this.#state}`);
    }
    this.checkResume(peer);
    this.#resuming = false;
    this.#attachment?.host.resumed();
    this.#listener.onResumed();
    this.#continueFrom(peer);
  }

  #onData(payload: Uint8Array): void {
    this.#mustBeAnswered("DATA");
    this.#receiving.receive(payload);
    const buffers = this.#attachment?.host.buffers;
    buffers?.hold(payload.length);
    if (buffers?.exceeded === true && this.unreadBytes > Math.max(FAIR_BYTES, this.windowBytes)) {
      throw new ConnectError("CC_LIMIT_REACHED", "More came unasked than this side holds for all its streams");
    }
    this.#listener.onReadable();
  }

  #onFin(final: number): void {
    this.#mustBeAnswered("FIN");
    const repeated = this.#receiving.receiveFin(final);
    if (!repeated) this.#listener.onReadable();
    else if (this.#finConsumed) this.#giveCredit(true);
  }

  #onWindow(payload: Uint8Array): void {
    this.#mustBeAnswered("WINDOW");
    const { consumed, windowBytes } = decodeWindow(payload);
    this.#credit(consumed, windowBytes);
    this.#wake();
    this.#tellRoom();
  }

  #credit(consumed: number, windowBytes: number): void {
    const { releasedBytes, finAcked } = this.#sending.credit(consumed, windowBytes);
    this.#attachment?.host.buffers.release(releasedBytes);
    if (releasedBytes > 0) this.#listener.onTaken();
    if (!finAcked) return;
    this.#listener.onFinAcked();
    this.#next("finAcked");
  }

  #onReset(end: EndPayload): void {
    this.#detach();
    if (end.code === "CC_CHANNEL_LOST") this.#suspend(errorOf(end));
    else this.#end(errorOf(end));
  }

  #mustBeAnswered(what: string): void {
    if (this.#resuming || this.#state.startsWith("pending")) {
      throw new ConnectError("CC_STREAM_STATE", `${what} before the answer to the stream's first frame`);
    }
  }

  #suspend(error: ConnectError): void {
    if (this.#state === "closed") return;
    this.#resuming = false;
    if (!this.#listener.onSuspended(error)) this.#end(error);
  }

  #giveCredit(always: boolean): void {
    const attachment = this.#attachment;
    if (attachment === undefined || this.#resuming || this.#state.startsWith("pending")) return;
    if (!always && !this.#receiving.creditDue) return;
    const { host } = attachment;
    attachment.send("WINDOW", [encodeWindow(this.#receiving.credit(host.now(), host.maxWindowBytes, host.windows))]);
  }

  /** FIN goes out as soon as no byte is before it: it needs neither credit nor a turn. */
  #sendDueFin(): void {
    const attachment = this.#attachment;
    if (attachment === undefined || this.#resuming) return;
    const final = this.#sending.nextFin();
    if (final !== undefined) attachment.send("FIN", [encodeU64(final)]);
  }

  #wake(): void {
    const attachment = this.#attachment;
    if (attachment === undefined || this.#resuming) return;
    if (this.#sending.sendableBytes > 0) attachment.wake(this);
  }

  #tellRoom(): void {
    if (this.#sending.isLow && this.room > 0) this.#listener.onRoom();
  }

  #next(event: StreamEvent): void {
    this.#state = nextStreamState(this.#state, event);
    if (this.#state === "closed") {
      this.#detach();
      this.#settle(undefined);
    }
  }

  #sendReset(code: ErrorCode, text: string): void {
    const attachment = this.#attachment;
    if (attachment === undefined) return;
    attachment.send("RESET", [encodeEnd({ code, text })]);
    this.#detach();
  }

  #detach(): void {
    const attachment = this.#leave();
    attachment?.host.release(attachment.id, this);
  }

  #join(host: StreamHost, id: StreamId): void {
    this.#attachment = new Attachment(host, id, this.#holding);
  }

  #leave(): Attachment | undefined {
    const attachment = this.#attachment;
    this.#attachment = undefined;
    attachment?.leave(this.#holding);
    return attachment;
  }

  get #holding(): Holding {
    const { initialBytes, grownBytes } = this.#receiving;
    return { initialBytes, grownBytes, heldBytes: this.retainedBytes + this.unreadBytes };
  }

  #end(error: ConnectError): void {
    if (this.#state === "closed") return;
    this.#state = nextStreamState(this.#state, "reset");
    this.#settle(error);
  }

  #settle(error: ConnectError | undefined): void {
    this.#leave();
    this.#sending.clear();
    if (error !== undefined) this.#receiving.clear();
    this.#listener.onEnded(error);
  }
}
