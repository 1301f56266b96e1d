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
import type { Frame } from "./decode.ts";
import { payloadBytes } from "./encode.ts";
import { EndpointLink, type Holding } from "./endpoint-link.ts";
import type { EndpointListener } from "./endpoint-listener.ts";
import { Inbound } from "./inbound.ts";
import { Outbound } from "./outbound.ts";
import type { SlabPool } from "./slab-pool.ts";
import { errorOf } from "./stream-error.ts";
import type { StreamHost, StreamMember } from "./stream-host.ts";
import { nextStreamState, type StreamEvent, type StreamState } from "./stream-state.ts";

/** A stream that holds no more than this is not reset to make room. */
const FAIR_BYTES = 65_536;

export interface EndpointOptions {
  readonly side: "opener" | "taker";
  /** Own receive window at the start. */
  readonly windowBytes: number;
  /** What the peer's first frame promised: the taker knows it from OPEN. */
  readonly sendLimit: number;
  /** Memory for what is held. */
  readonly slabs: SlabPool;
}

/**
 * One end of a stream: offsets, credit, states, and the bytes that a RESUME would send again.
 *
 * It outlives the session it runs in: without a link it is suspended, and everything but sending goes on.
 */
export class Endpoint implements StreamMember {
  readonly #listener: EndpointListener;
  readonly #out: Outbound;
  readonly #in: Inbound;
  #state: StreamState;
  #link: EndpointLink | undefined;
  #resuming = false;
  /** The peer's FIN was taken, and that was acknowledged. */
  #finConsumed = false;

  constructor(options: EndpointOptions, listener: EndpointListener) {
    const { side, windowBytes, sendLimit, slabs } = options;
    this.#listener = listener;
    this.#out = new Outbound(sendLimit, slabs);
    this.#in = new Inbound(side, windowBytes, slabs);
    this.#state = side === "opener" ? "pending" : "open";
  }

  get state(): StreamState {
    return this.#state;
  }

  get streamId(): StreamId | undefined {
    return this.#link?.id;
  }

  get suspended(): boolean {
    return this.#link === undefined && this.#state !== "closed";
  }

  /** Bytes held for a RESUME or not sent yet. */
  get retainedBytes(): number {
    return this.#out.heldBytes;
  }

  /** Bytes received that the consumer has not taken. */
  get unreadBytes(): number {
    return this.#in.unreadBytes;
  }

  /** Own receive window as it was last told. */
  get windowBytes(): number {
    return this.#in.windowBytes;
  }

  get writtenBytes(): number {
    return this.#out.writtenBytes;
  }

  get takenBytes(): number {
    return this.#in.takenBytes;
  }

  /** Bytes that went out; a write below is done. */
  get sentBytes(): number {
    return this.#out.sentBytes;
  }

  /** Both directions ended on this side: nothing is left to do for whoever uses the bytes. */
  get over(): boolean {
    return this.#state === "closed" || (this.#out.finished && this.#in.finTaken);
  }

  /** Joins a session under an id: for OPEN and ACCEPT. */
  link(host: StreamHost, id: StreamId): void {
    this.#join(host, id);
    this.#wake();
  }

  /** Bytes for the peer; a copy is kept until its consumer took them. */
  write(chunk: Uint8Array): void {
    if (this.#state === "closed" || this.#out.finished) return;
    this.#out.append(chunk);
    this.#link?.host.buffers.hold(chunk.length);
    this.#wake();
  }

  /** No more is written: FIN follows the last byte. */
  finish(): void {
    if (this.#state === "closed" || this.#out.finished) return;
    this.#out.finish();
    this.#next("finSent");
    this.#sendDueFin();
  }

  /** The next bytes for the consumer, true until {@link giveBack}; undefined when there are none. */
  take(): Uint8Array | undefined {
    const chunk = this.#in.take();
    if (chunk === undefined) return undefined;
    this.#link?.host.buffers.release(chunk.length);
    this.#giveCredit(false);
    return chunk;
  }

  /** So many of the bytes that were taken, the oldest ones, are needed no more. */
  giveBack(bytes: number): void {
    this.#in.giveBack(bytes);
  }

  /** Whether everything was taken and the peer's FIN comes next; then it is taken, once. */
  takeFin(): boolean {
    if (!this.#in.takeFin()) return false;
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
    const link = this.#link;
    if (link === undefined || this.#resuming) return { bytes: 0, more: false };
    const before = this.#out.sentBytes;
    const parts = this.#out.nextData(maxBytes);
    const bytes = payloadBytes(parts);
    if (bytes > 0) link.send("DATA", parts);
    if (this.#out.sentBytes > before) this.#listener.onSent(this.#out.sentBytes);
    this.#sendDueFin();
    // Asked now: whoever was told that bytes went out may have written more.
    return { bytes, more: this.#link === link && this.#out.sendableBytes > 0 };
  }

  /** Leaves its session without an end; the peer learns that this channel is no longer the stream's. */
  detach(code: ErrorCode, text: string): void {
    this.#sendReset(code, text);
  }

  /**
   * The opener is about to ask to go on: what RESUME says. Nothing is sent until the answer.
   *
   * {@link joinResuming} follows, or {@link lost} when no session takes the stream.
   */
  beginResume(): Offsets {
    this.#resuming = true;
    return this.#in.offsets();
  }

  /** RESUME went out under this id. */
  joinResuming(host: StreamHost, id: StreamId): void {
    this.#join(host, id);
  }

  /** The opener asks once more for a stream that was never answered: every byte goes out again. */
  reopen(host: StreamHost, id: StreamId): void {
    this.#out.restartAt(0);
    this.link(host, id);
    this.#sendDueFin();
  }

  /** @throws ConnectError `CC_RESUME_GAP` when the peer misses bytes that are not held any more, or never sent. */
  checkResume(peer: Offsets): void {
    if (!this.#out.holdsFrom(peer.received) || peer.consumed > peer.received) {
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
    sayResumed(this.#in.offsets());
    this.#continueFrom(peer);
  }

  /** The peer knows the stream as finished: only its last acknowledgement was lost. */
  conclude(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#unlink();
    if (!this.#out.finAcked) this.#listener.onFinAcked();
    this.#settle(undefined);
  }

  #continueFrom(peer: Offsets): void {
    this.#out.restartAt(peer.received);
    // FIN is said again in any case, so that a relay on the new way learns how the direction ends; and first, because
    // the credit may tell that it was acknowledged and that the stream is over.
    this.#sendDueFin();
    this.#credit(peer.consumed, peer.windowBytes);
    this.#consumeFin();
    this.#giveCredit(false);
    this.#wake();
  }

  /** Acknowledges the peer's FIN, which needs a channel; the stream is not over before. */
  #consumeFin(): void {
    if (!this.#in.finTaken || this.#finConsumed || this.#link === undefined || this.#resuming) return;
    this.#finConsumed = true;
    this.#giveCredit(true);
    this.#next("finConsumed");
  }

  #onAccept(accept: Accept): void {
    this.#next("accepted");
    this.#out.credit(0, accept.windowBytes);
    this.#listener.onAccepted(accept);
    this.#wake();
  }

  #onReject(end: EndPayload): void {
    if (!this.#resuming && !this.#state.startsWith("pending")) {
      throw new ConnectError("CC_STREAM_STATE", `REJECT does not go with a stream that is ${this.#state}`);
    }
    this.#unlink();
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
    this.#listener.onResumed();
    this.#continueFrom(peer);
  }

  #onData(payload: Uint8Array): void {
    this.#mustBeAnswered("DATA");
    this.#in.receive(payload);
    const buffers = this.#link?.host.buffers;
    buffers?.hold(payload.length);
    if (buffers?.exceeded === true && this.unreadBytes > FAIR_BYTES) {
      throw new ConnectError("CC_LIMIT_REACHED", "More is unread than this side holds for all its streams");
    }
    this.#listener.onReadable();
  }

  #onFin(final: number): void {
    this.#mustBeAnswered("FIN");
    const repeated = this.#in.receiveFin(final);
    if (!repeated) this.#listener.onReadable();
    else if (this.#finConsumed) this.#giveCredit(true);
  }

  #onWindow(payload: Uint8Array): void {
    this.#mustBeAnswered("WINDOW");
    const { consumed, windowBytes } = decodeWindow(payload);
    this.#credit(consumed, windowBytes);
    this.#wake();
  }

  #credit(consumed: number, windowBytes: number): void {
    const { releasedBytes, finAcked } = this.#out.credit(consumed, windowBytes);
    this.#link?.host.buffers.release(releasedBytes);
    if (!finAcked) return;
    this.#listener.onFinAcked();
    this.#next("finAcked");
  }

  #onReset(end: EndPayload): void {
    this.#unlink();
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
    const link = this.#link;
    if (link === undefined || this.#resuming || this.#state.startsWith("pending")) return;
    if (!always && !this.#in.creditDue) return;
    const { host } = link;
    link.send("WINDOW", [encodeWindow(this.#in.credit(host.now(), host.maxWindowBytes, host.windows))]);
  }

  /** FIN goes out as soon as no byte is before it: it needs neither credit nor a turn. */
  #sendDueFin(): void {
    const link = this.#link;
    if (link === undefined || this.#resuming) return;
    const final = this.#out.nextFin();
    if (final !== undefined) link.send("FIN", [encodeU64(final)]);
  }

  #wake(): void {
    const link = this.#link;
    if (link === undefined || this.#resuming) return;
    if (this.#out.sendableBytes > 0) link.wake(this);
  }

  #next(event: StreamEvent): void {
    this.#state = nextStreamState(this.#state, event);
    if (this.#state === "closed") {
      this.#unlink();
      this.#settle(undefined);
    }
  }

  #sendReset(code: ErrorCode, text: string): void {
    const link = this.#link;
    if (link === undefined) return;
    link.send("RESET", [encodeEnd({ code, text })]);
    this.#unlink();
  }

  #unlink(): void {
    const link = this.#leave();
    link?.host.release(link.id, this);
  }

  #join(host: StreamHost, id: StreamId): void {
    this.#link = new EndpointLink(host, id, this.#holding);
  }

  #leave(): EndpointLink | undefined {
    const link = this.#link;
    this.#link = undefined;
    link?.leave(this.#holding);
    return link;
  }

  get #holding(): Holding {
    return { grownBytes: this.#in.grownBytes, heldBytes: this.retainedBytes + this.unreadBytes };
  }

  #end(error: ConnectError): void {
    if (this.#state === "closed") return;
    this.#state = nextStreamState(this.#state, "reset");
    this.#settle(error);
  }

  #settle(error: ConnectError | undefined): void {
    this.#leave();
    this.#out.clear();
    if (error !== undefined) this.#in.clear();
    this.#listener.onEnded(error);
  }
}
