import { onAbort, type Timer } from "@cluster-connect/base";
import {
  ConnectError,
  DEFAULT_HELLO_LIMITS,
  decodeGoaway,
  decodeRelays,
  type ErrorCode,
  encodeRelays,
  type GoawayPayload,
  HANDSHAKE_TIMEOUT_MS,
  type Hello,
  INITIAL_BUDGET_BYTES,
  type Open,
  SESSION_BUDGET_BYTES,
  type StreamId,
  UNASKED_BYTES,
} from "@cluster-connect/protocol";
import { type Budget, createBudget } from "../bytes/budget.ts";
import { CLOSE_GOING_AWAY, CLOSE_NORMAL, CLOSE_POLICY, CLOSE_PROTOCOL, type MessageChannel } from "../channel.ts";
import type { ForwardTarget } from "../forward/forward.ts";
import type { Frame } from "../frames/decode.ts";
import { HopAcknowledger } from "../hop/acknowledge.ts";
import { CHANNEL_FULL_BYTES, createFrameReader, type FrameReader } from "../hop/frame-reader.ts";
import { createFrameWriter, type FrameWriter } from "../hop/frame-writer.ts";
import { createHopSender, type HopSender } from "../hop/hop-window.ts";
import { createKeepalive, type Keepalive } from "../hop/keepalive.ts";
import type { StreamRequest } from "../stream/incoming.ts";
import { initialWindow } from "../stream/initial-window.ts";
import type { StreamHost, StreamMember } from "../stream/member.ts";
import { MuxStream } from "../stream/mux-stream.ts";
import { createSessionDeps, type SessionDeps } from "./deps.ts";
import { createDrain, type Drain, goawayPayload } from "./drain.ts";
import { endOfChannel, endOfError, endOfRefusal, errorForReady, errorForStreams } from "./end.ts";
import { Handshake, type HandshakeRole } from "./handshake.ts";
import type {
  AcceptSessionOptions,
  DialOptions,
  GoawayOptions,
  OpenRequest,
  SessionCounters,
  SessionEnd,
  SessionOptions,
  SessionReady,
} from "./options.ts";
import { nextSessionState, type SessionEvent, type SessionSide, type SessionState } from "./state.ts";
import { SessionStreams } from "./streams.ts";

/** When a channel that was too full for a stream may have room. */
const FULL_WAIT_MS = 1_000;

/** Begins the dialer's side of a session over an open channel. */
export function dialSession(
  channel: MessageChannel,
  options: DialOptions,
  deps: SessionDeps = createSessionDeps(),
): Session {
  return new Session("dialer", channel, options, deps, { dial: options });
}

/** Begins the acceptor's side of a session over an open channel. */
export function acceptSession(
  channel: MessageChannel,
  options: AcceptSessionOptions,
  deps: SessionDeps = createSessionDeps(),
): Session {
  return new Session("acceptor", channel, options, deps, { accept: options });
}

/** One multiplexer over one channel, from HELLO to close. */
export class Session implements ForwardTarget {
  readonly side: SessionSide;
  /** Rejects with a ConnectError when the handshake fails. */
  readonly ready: Promise<SessionReady>;
  /** Never rejects. */
  readonly closed: Promise<SessionEnd>;
  /** Resolves when the session opens no more streams: after GOAWAY of either side, or at its end. */
  readonly draining: Promise<void>;
  readonly #channel: MessageChannel;
  readonly #options: SessionOptions;
  readonly #deps: SessionDeps;
  readonly #reader: FrameReader;
  readonly #drain: Drain;
  readonly #streams: SessionStreams;
  readonly #handshake: Handshake;
  readonly #hopSender: HopSender;
  readonly #buffers: Budget;
  readonly #initialWindows: Budget;
  readonly #hop: HopAcknowledger;
  readonly #writer: FrameWriter;
  readonly #keepalive: Keepalive;
  readonly #settleReady: PromiseWithResolvers<SessionReady>;
  readonly #settleClosed: PromiseWithResolvers<SessionEnd>;
  readonly #settleDraining: PromiseWithResolvers<void>;
  #state: SessionState = "awaitingHello";
  #handshakeTimer: Timer | undefined;

  constructor(
    side: SessionSide,
    channel: MessageChannel,
    options: SessionOptions,
    deps: SessionDeps,
    role: HandshakeRole,
  ) {
    this.side = side;
    this.#channel = channel;
    this.#options = options;
    this.#deps = deps;
    const limits = { ...DEFAULT_HELLO_LIMITS, ...options.limits };
    this.#hopSender = createHopSender({ everyBytes: limits.hopAckEveryBytes, ...options.hopWindow }, deps);
    this.#buffers = createBudget(SESSION_BUDGET_BYTES, options.budgets?.buffers);
    const heldBytes = options.budgets?.buffers?.limitBytes ?? SESSION_BUDGET_BYTES;
    this.#initialWindows = createBudget(Math.min(INITIAL_BUDGET_BYTES, heldBytes / 2), options.budgets?.initialWindows);
    this.#writer = createFrameWriter(channel, this.#hopSender);
    this.#settleReady = Promise.withResolvers<SessionReady>();
    this.#settleClosed = Promise.withResolvers<SessionEnd>();
    this.ready = this.#settleReady.promise;
    this.ready.catch(() => {});
    this.closed = this.#settleClosed.promise;
    this.#settleDraining = Promise.withResolvers<void>();
    this.draining = this.#settleDraining.promise;
    this.#keepalive = createKeepalive(options.keepalive ?? {}, {
      clock: deps.clock,
      busy: () => this.#streams.size > 0,
      ping: (payload) => this.#writer.send("PING", 0, [payload]),
      dead: () => this.#lose(new ConnectError("CC_KEEPALIVE_TIMEOUT", "The peer did not answer two pings")),
    });
    this.#hop = new HopAcknowledger(this.#hopSender, this.#keepalive, this.#writer);
    this.#streams = new SessionStreams(
      side,
      { ...limits, onStream: options.onStream },
      {
        session: deps,
        writer: this.#writer,
        budgets: {
          initialWindows: this.#initialWindows,
          windows: createBudget(SESSION_BUDGET_BYTES, options.budgets?.windows),
          buffers: this.#buffers,
        },
        refuses: () => this.#drain.refuses,
        late: () => this.#keepalive.probe(),
        began: () => this.#keepalive.wake(),
        ended: () => this.#drain.streamEnded(),
      },
    );
    this.#handshake = new Handshake(role, options, limits, {
      writer: this.#writer,
      reader: () => this.#reader,
      secret: deps.secret,
      state: () => this.#state,
      advance: (event) => this.#advance(event),
      helloReceived: (peer) => this.#hop.wants(peer.limits.hopAckEveryBytes),
      ready: (ready) => this.#begin(ready),
      failed: (error) => this.#fail(error),
    });
    this.#handshakeTimer = deps.clock.setTimer(options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS, () => {
      this.#fail(new ConnectError("CC_TIMEOUT", "The peer did not finish the handshake in time"));
    });
    this.#handshake.begin();
    this.#reader = createFrameReader(channel, {
      frame: (frame) => this.#onFrame(frame),
      failed: (error) => this.#fail(error),
    });
    this.#drain = createDrain({
      clock: deps.clock,
      send: (payload) => this.#writer.send("GOAWAY", 0, [payload]),
      openStreams: () => this.#streams.size,
      lastPeerId: () => this.#streams.lastPeerId,
      close: (end) => this.#closeAsAnnounced(end),
    });
    channel.listen({
      message: (bytes) => this.#reader.push(bytes),
      drain: () => {
        this.#writer.flush();
        this.#reader.drained();
      },
      close: (end) => this.#end(endOfChannel(end, this.#drain)),
    });
  }

  get state(): SessionState {
    return this.#state;
  }

  /** The peer's HELLO once it came. */
  get peer(): Hello | undefined {
    return this.#handshake.peer;
  }

  /** The content of a GOAWAY while the session was up, as an error; undefined when neither side sent one. */
  get goawayError(): ConnectError | undefined {
    return this.#drain.error;
  }

  get counters(): SessionCounters {
    return {
      state: this.#state,
      openStreams: this.#streams.size,
      resumedStreams: this.#streams.resumedStreams,
      bytesReceived: this.#hop.receivedBytes,
      bytesSent: this.#writer.dataBytes,
      bufferedBytes: this.#buffers.usedBytes,
      hopWindowBytes: this.#hopSender.capBytes,
      inFlightBytes: this.#hopSender.inFlightBytes,
      rttMs: this.#keepalive.rttMs,
    };
  }

  /**
   * Opens a stream. It may be written to at once: up to `UNASKED_BYTES` go out before the answer.
   *
   * @param options `signal` resets the stream with `CC_CANCELLED`, at any time of its life.
   * @throws ConnectError `CC_DRAINING` after a GOAWAY, `CC_SESSION_CLOSED` after the end, `CC_LIMIT_REACHED` with too
   *   many streams.
   */
  open(request: OpenRequest, options: { readonly signal?: AbortSignal } = {}): MuxStream {
    options.signal?.throwIfAborted();
    const open = this.fillOpen(request);
    const stream = new MuxStream({
      side: "opener",
      windowBytes: open.windowBytes,
      sendLimit: UNASKED_BYTES,
      slabs: this.#deps.slabs,
    });
    const { host, streamId } = this.addMember(stream.endpoint, { kind: "open", open });
    stream.endpoint.attach(host, streamId);
    if (options.signal !== undefined) stream.cancelBy(options.signal);
    return stream;
  }

  fillOpen(request: OpenRequest): Open {
    const { key = this.#deps.secret(), graceMs = 0, viaPeer = false } = request;
    const { windowBytes = initialWindow(this.#initialWindows) } = request;
    return { ...request, windowBytes, unaskedBytes: UNASKED_BYTES, key, graceMs, viaPeer };
  }

  /**
   * Gives a new id to a stream whose frames are handled elsewhere, and sends its first frame.
   *
   * @throws ConnectError as {@link open}; also `CC_LIMIT_REACHED` while too much waits to leave.
   */
  addMember(member: StreamMember, request: StreamRequest): { readonly host: StreamHost; readonly streamId: StreamId } {
    if (this.#state === "closed") throw new ConnectError("CC_SESSION_CLOSED", "The session is closed");
    if (this.#state === "draining") throw new ConnectError("CC_DRAINING", "The session takes no more streams");
    if (this.#channel.bufferedBytes > CHANNEL_FULL_BYTES) {
      throw new ConnectError("CC_LIMIT_REACHED", "Too much waits to leave by this channel", {
        retryAfterMs: FULL_WAIT_MS,
      });
    }
    const streamId = this.#streams.add(member, request, this.peer?.limits.maxStreams);
    return { host: this.#streams.host, streamId };
  }

  /** Takes no more streams; the channel closes when the last one ended, at the latest at the deadline. */
  goaway(options: GoawayOptions = {}): void {
    if (this.#state === "closed") return;
    if (this.#state !== "open" && this.#state !== "draining") {
      this.close(options.code, options.text);
      return;
    }
    this.#advance("goaway");
    this.#settleDraining.resolve();
    this.#drain.announce(options);
  }

  /** GOAWAY, then the end; resolves when it has come. Aborting the signal closes at once. */
  async drain(options: GoawayOptions & { readonly signal?: AbortSignal } = {}): Promise<SessionEnd> {
    const { signal } = options;
    const { code, text = "" } = options;
    const stop = (): void => this.#closeAsAnnounced({ code, text, by: "local", retryAfterMs: 0 });
    this.goaway(options);
    const leave = signal && onAbort(signal, stop);
    try {
      return await this.closed;
    } finally {
      leave?.();
    }
  }

  /** Ends the session now. With a code the peer learns why; without, its streams may go on elsewhere. */
  close(code?: ErrorCode, text = ""): void {
    if (this.#state === "closed") return;
    this.#goawayAndClose(
      { ...(code === undefined ? {} : { code }), text },
      code === undefined ? CLOSE_NORMAL : CLOSE_POLICY,
    );
    this.#end({ code, text, by: "local", retryAfterMs: 0 });
  }

  /** Relays: tells the peer how many of them there are by now. */
  announceRelays(liveRelays: number): void {
    if (this.#state === "open") this.#writer.send("RELAYS", 0, [encodeRelays(liveRelays)]);
  }

  /** Pings now: for a suspicion that the network changed. */
  probe(): void {
    this.#keepalive.probe();
  }

  #onFrame(frame: Frame): void {
    if (this.#state === "awaitingHello" || this.#state === "awaitingReady") {
      this.#onHandshakeFrame(frame);
      return;
    }
    const { type, streamId, payload } = frame;
    switch (type) {
      case "PING":
        this.#writer.send("PONG", 0, [payload]);
        return;
      case "PONG":
        this.#hop.onPong(payload);
        return;
      case "HOPACK":
        this.#hop.onHopAck(payload);
        return;
      case "GOAWAY":
        this.#onGoaway(decodeGoaway(payload));
        return;
      case "RELAYS":
        this.#options.onRelays?.(decodeRelays(payload));
        return;
      case "OPEN":
      case "RESUME":
        this.#streams.request(frame);
        return;
      case "DATA":
        this.#hop.received(payload.length);
        this.#streams.frame(frame);
        return;
      case "ACCEPT":
      case "REJECT":
      case "RESUMED":
        this.#streams.answer(frame);
        return;
      case "WINDOW":
      case "FIN":
      case "RESET":
        this.#streams.frame(frame);
        return;
      case "HELLO":
      case "READY":
        throw new ConnectError("CC_PROTOCOL", `${type} on stream ${streamId} of a session that is ${this.#state}`);
    }
  }

  #onHandshakeFrame(frame: Frame): void {
    if (frame.type !== "GOAWAY") {
      this.#handshake.frame(frame);
      return;
    }
    this.#channel.close(CLOSE_NORMAL, "");
    this.#end(endOfRefusal(decodeGoaway(frame.payload)));
  }

  #begin(ready: SessionReady): void {
    this.#handshakeTimer?.cancel();
    this.#channel.admit();
    this.#keepalive.start();
    this.#settleReady.resolve(ready);
  }

  #onGoaway(goaway: GoawayPayload): void {
    this.#advance("goaway");
    this.#settleDraining.resolve();
    this.#options.onGoaway?.(goaway);
    this.#drain.peerAnnounced(goaway);
  }

  /** The channel closes as it was announced. */
  #closeAsAnnounced(end: SessionEnd): void {
    if (this.#state === "closed") return;
    this.#writer.flush();
    this.#channel.close(CLOSE_GOING_AWAY, "");
    this.#end(end);
  }

  #goawayAndClose(options: GoawayOptions, closeCode: number): void {
    this.#writer.flush();
    this.#writer.sendFirst("GOAWAY", [goawayPayload(options, this.#streams.lastPeerId)]);
    this.#channel.close(closeCode, "");
  }

  /** This side ends the session because of an error that it tells the peer. */
  #fail(error: ConnectError): void {
    if (this.#state === "closed") return;
    const { code, message: text, retryAfterMs = 0 } = error;
    this.#goawayAndClose({ code, text, retryAfterMs }, CLOSE_PROTOCOL);
    this.#end(endOfError(error, "local"));
  }

  /** The channel is of no use any more. */
  #lose(error: ConnectError): void {
    if (this.#state === "closed") return;
    this.#end(endOfError(error, "network"));
    this.#channel.terminate();
  }

  #end(end: SessionEnd): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#handshakeTimer?.cancel();
    this.#drain.cancel();
    this.#keepalive.stop();
    this.#writer.close();
    this.#reader.close();
    this.#streams.lose(errorForStreams(end));
    this.#settleReady.reject(errorForReady(end));
    this.#settleClosed.resolve(end);
    this.#settleDraining.resolve();
  }

  #advance(event: SessionEvent): void {
    this.#state = nextSessionState(this.side, this.#state, event);
  }
}
