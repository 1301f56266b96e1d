import { Duplex } from "node:stream";
import { type Accept, ConnectError, type ErrorCode, type StreamId } from "@cluster-connect/protocol";
import { Endpoint, type EndpointOptions } from "./endpoint.ts";
import type { EndpointListener } from "./endpoint-listener.ts";

/** How a stream ended. */
export type StreamEnd = { readonly kind: "finished" } | { readonly kind: "reset"; readonly error: ConnectError };

/** Holds a stream whose channel was lost, until it is resumed. */
export interface StreamKeeper {
  /** @returns whether the stream is kept; otherwise it ends with this error. */
  suspended(error: ConnectError): boolean;
  /** The opener's stream was answered: it goes on. */
  answered(): void;
  /** The stream is over; told before {@link MuxStream.done} settles. */
  ended(end: StreamEnd): void;
}

/** More than one read of a socket, which need not stop for each. */
const WRITABLE_BYTES = 131_072;

interface PendingWrite {
  readonly end: number;
  readonly done: (error?: Error | null) => void;
}

/** Of streams that wait for nothing, which is most; never written to. */
const NO_WRITES: PendingWrite[] = [];
const ignore = (): void => {};
const UNWANTED = "The stream is no longer wanted";

/**
 * One stream as a `Duplex` with half-close.
 *
 * A write is done when its bytes went out within the peer's credit. `finish` comes when the peer's consumer took
 * everything. Credit for bytes that come is given when the consumer takes them. Errors are `ConnectError` with the code
 * of the side that broke the stream off.
 */
export class MuxStream extends Duplex implements EndpointListener {
  /** Offsets and states of this end; for the parts of this package. */
  readonly endpoint: Endpoint;
  /** The keeper of the stream when its channel is lost; without one it ends with `CC_CHANNEL_LOST`. */
  keeper: StreamKeeper | undefined;
  /** Made when it is asked for: most streams have no watcher. */
  #accepted: PromiseWithResolvers<Accept> | undefined;
  #done: PromiseWithResolvers<StreamEnd> | undefined;
  #answer: Accept | undefined;
  /** Why there is no answer, or none any more; and how the stream ended. */
  #refusal: Error | undefined;
  #end: StreamEnd | undefined;
  #wanted = false;
  #lends = false;
  #writes: PendingWrite[] = NO_WRITES;
  #finalDone: (() => void) | undefined;
  #whenTaken: (() => void) | undefined;
  #whenRoom: (() => void) | undefined;
  #signal: AbortSignal | undefined;
  #cancel: (() => void) | undefined;

  constructor(options: EndpointOptions) {
    // A high-water mark of 0 lets `_read` mean that the consumer takes the bytes now, which is when credit is due.
    super({ allowHalfOpen: true, readableHighWaterMark: 0, writableHighWaterMark: WRITABLE_BYTES });
    this.endpoint = new Endpoint(options, this);
    // A reset is an outcome that `done` tells; without this a stream without a watcher would end the process.
    this.on("error", ignore);
  }

  /** The answer to OPEN; rejects with the error that ended the stream instead. */
  get accepted(): Promise<Accept> {
    if (this.#accepted === undefined) {
      this.#accepted = Promise.withResolvers<Accept>();
      this.#accepted.promise.catch(ignore);
      if (this.#answer !== undefined) this.#accepted.resolve(this.#answer);
      else if (this.#refusal !== undefined) this.#accepted.reject(this.#refusal);
    }
    return this.#accepted.promise;
  }

  /** Settles when both directions have ended and were acknowledged, or on a reset; never rejects. */
  get done(): Promise<StreamEnd> {
    if (this.#done === undefined) {
      this.#done = Promise.withResolvers<StreamEnd>();
      if (this.#end !== undefined) this.#done.resolve(this.#end);
    }
    return this.#done.promise;
  }

  /** The content of ACCEPT, once it came; as {@link accepted}, without waiting. */
  get answer(): Accept | undefined {
    return this.#answer;
  }

  /** Id in the session that carries the stream now. */
  get streamId(): StreamId | undefined {
    return this.endpoint.streamId;
  }

  /** Bytes that this side wrote and that went out. */
  get bytesSent(): number {
    return this.endpoint.sentBytes;
  }

  /** Bytes that this side wrote and that did not go out yet. */
  get waitingBytes(): number {
    return this.endpoint.writtenBytes - this.endpoint.sentBytes;
  }

  /** Bytes that this side's consumer took. */
  get bytesTaken(): number {
    return this.endpoint.takenBytes;
  }

  /** Ends both directions now, with a code the peer sees. Text is one line without secrets. */
  reset(code: ErrorCode, text: string): void {
    this.endpoint.reset(code, text);
    this.#breakOff(new ConnectError(code, text));
  }

  /** Aborting the signal resets the stream with `CC_CANCELLED`, at any time of its life. */
  cancelBy(signal: AbortSignal): void {
    this.#signal = signal;
    this.#cancel = () => this.reset("CC_CANCELLED", UNWANTED);
    signal.addEventListener("abort", this.#cancel, { once: true });
  }

  /** Calls back once, when the peer's consumer has taken what was written ({@link Endpoint.isTaken}), or never will. */
  whenTaken(done: () => void): void {
    this.#whenTaken = done;
    this.#tellTaken();
  }

  /**
   * Writes a chunk past the queue that a `Writable` has: it is copied before this returns, and waits in the stream alone.
   *
   * @returns whether there is room for more; else the writer should stop until {@link whenRoom} calls back.
   */
  put(chunk: Uint8Array): boolean {
    // Bytes that were written before go first.
    if (this.writableLength > 0) this.write(Buffer.from(chunk));
    else this.endpoint.write(chunk);
    return this.endpoint.room > 0;
  }

  /** Calls back once, when there is room after {@link put}; never for a stream that ends. */
  whenRoom(done: () => void): void {
    this.#whenRoom = done;
  }

  /**
   * From now on the chunks that are read are lent: their memory is used again after {@link giveBack}. The reader calls
   * it with their lengths, in order. Saves a copy, and memory that the garbage collector would have to find.
   */
  lend(): void {
    this.#lends = true;
  }

  /** So many of the bytes that were lent, the oldest ones, are needed no more. */
  giveBack(bytes: number): void {
    this.endpoint.giveBack(bytes);
  }

  /** @see EndpointListener, as the following ones: only the endpoint calls them. */
  onAccepted(accept: Accept): void {
    this.#answer = accept;
    this.#accepted?.resolve(accept);
    this.keeper?.answered();
  }

  onReadable(): void {
    this.#pump();
  }

  onSent(offset: number): void {
    while ((this.#writes[0]?.end ?? Number.POSITIVE_INFINITY) <= offset) this.#writes.shift()?.done();
    this.#tellTaken();
  }

  onTaken(): void {
    this.#tellTaken();
  }

  onRoom(): void {
    const done = this.#whenRoom;
    this.#whenRoom = undefined;
    done?.();
  }

  onFinAcked(): void {
    this.#finalDone?.();
  }

  onSuspended(error: ConnectError): boolean {
    return this.keeper?.suspended(error) ?? false;
  }

  onResumed(): void {
    this.keeper?.answered();
  }

  onEnded(error: ConnectError | undefined): void {
    this.#end = error === undefined ? { kind: "finished" } : { kind: "reset", error };
    this.keeper?.ended(this.#end);
    this.#done?.resolve(this.#end);
    this.#tellTaken();
    if (this.#cancel !== undefined) this.#signal?.removeEventListener("abort", this.#cancel);
    if (error !== undefined) this.#breakOff(error);
  }

  override _read(): void {
    this.#wanted = true;
    this.#pump();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.endpoint.write(chunk);
    this.#awaitSent(done);
  }

  override _writev(
    chunks: Array<{ chunk: Buffer; encoding: BufferEncoding }>,
    done: (error?: Error | null) => void,
  ): void {
    for (const { chunk } of chunks) this.endpoint.write(chunk);
    this.#awaitSent(done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finalDone = done;
    this.endpoint.finish();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // Ended both ways: the acknowledgement of FIN that is left needs no user.
    if (error === null && this.endpoint.over) {
      done();
      return;
    }
    if (error instanceof ConnectError) this.endpoint.reset(error.code, error.message);
    else if (error === null) this.endpoint.reset("CC_CANCELLED", UNWANTED);
    else this.endpoint.reset("CC_STREAM_RESET", "The side behind the stream broke off");
    this.#failWrites(error ?? new ConnectError("CC_CANCELLED", UNWANTED));
    done(error);
  }

  #pump(): void {
    while (this.#wanted && !this.destroyed) {
      const chunk = this.endpoint.take();
      if (chunk === undefined) {
        if (!this.endpoint.takeFin()) return;
        this.#wanted = false;
        this.push(null);
        return;
      }
      this.#wanted = false;
      // In flowing mode the chunk goes straight to the consumer, which may want more or have paused meanwhile.
      if (this.push(this.#lends ? chunk : this.#copyOf(chunk)) && this.readableFlowing === true) this.#wanted = true;
    }
  }

  #tellTaken(): void {
    const done = this.#whenTaken;
    const isOver = this.destroyed || this.#end !== undefined;
    if (done === undefined || (!isOver && !(this.endpoint.isTaken && this.writableLength === 0))) return;
    this.#whenTaken = undefined;
    done();
  }

  #copyOf(chunk: Uint8Array): Uint8Array {
    const copy = Buffer.from(chunk);
    this.endpoint.giveBack(chunk.length);
    return copy;
  }

  #awaitSent(done: (error?: Error | null) => void): void {
    const end = this.endpoint.writtenBytes;
    if (this.endpoint.sentBytes >= end) done();
    else if (this.#writes.length === 0) this.#writes = [{ end, done }];
    else this.#writes.push({ end, done });
  }

  #failWrites(error: Error): void {
    const writes = this.#writes;
    this.#writes = NO_WRITES;
    for (const write of writes) write.done(error);
    this.#refuse(error);
  }

  #breakOff(error: ConnectError): void {
    this.#refuse(error);
    this.destroy(error);
  }

  #refuse(error: Error): void {
    this.#refusal ??= error;
    this.#accepted?.reject(this.#refusal);
  }
}
