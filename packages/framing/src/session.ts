import {
  ConnectError,
  DEFAULT_HELLO_LIMITS,
  decodeGoaway,
  decodeHello,
  decodeHopAck,
  decodeOpen,
  decodeReady,
  decodeRelays,
  decodeResume,
  type ErrorCode,
  encodeEnd,
  encodeHello,
  encodeOpen,
  encodeReady,
  encodeRelays,
  encodeResume,
  type GoawayPayload,
  HANDSHAKE_TIMEOUT_MS,
  type Hello,
  type HelloLimits,
  INITIAL_WINDOW_BYTES,
  MAX_WINDOW_BYTES,
  negotiateMinor,
  type Open,
  OWN_VERSIONS,
  SESSION_BUDGET_BYTES,
  type Secret,
  type StreamId,
  toConnectError,
} from "@cluster-connect/protocol";
import { type Budget, createBudget } from "./budget.ts";
import {
  type ChannelEnd,
  CLOSE_GOING_AWAY,
  CLOSE_LOST,
  CLOSE_NORMAL,
  CLOSE_POLICY,
  CLOSE_PROTOCOL,
  type MessageChannel,
} from "./channel.ts";
import type { Timer } from "./clock.ts";
import type { Frame } from "./decode.ts";
import { createDeparture, type Departure, goawayPayload } from "./departure.ts";
import { type SessionDeps, SYSTEM_SESSION_DEPS } from "./deps.ts";
import type { ForwardTarget } from "./forward.ts";
import { createHopReceiver, createHopSender, type HopReceiver, type HopSender } from "./hop-window.ts";
import { createInbox, type Inbox } from "./inbox.ts";
import { IncomingStream, type StreamRequest } from "./incoming.ts";
import { createKeepalive, type Keepalive } from "./keepalive.ts";
import { suspends } from "./lost.ts";
import { createOutbox, type Outbox } from "./outbox.ts";
import type {
  AcceptSessionOptions,
  DialOptions,
  GoawayOptions,
  OpenRequest,
  SessionCounters,
  SessionEnd,
  SessionOptions,
  SessionReady,
} from "./session-options.ts";
import { nextSessionState, type SessionEvent, type SessionSide, type SessionState } from "./session-state.ts";
import { MuxStream } from "./stream.ts";
import type { StreamHost, StreamMember } from "./stream-host.ts";
import { createStreamTable, type StreamTable } from "./stream-table.ts";

/** Begins the dialer's side of a session over an open channel. */
export function dialSession(
  channel: MessageChannel,
  options: DialOptions,
  deps: SessionDeps = SYSTEM_SESSION_DEPS,
): Session {
  return new Session("dialer", channel, options, deps, { dial: options });
}

/** Begins the acceptor's side of a session over an open channel. */
export function acceptSession(
  channel: MessageChannel,
  options: AcceptSessionOptions,
  deps: SessionDeps = SYSTEM_SESSION_DEPS,
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
  readonly #dial: DialOptions | undefined;
  readonly #accept: AcceptSessionOptions | undefined;
  readonly #deps: SessionDeps;
  readonly #inbox: Inbox;
  readonly #departure: Departure;
  readonly #limits: HelloLimits;
  readonly #table: StreamTable;
  readonly #hopSender: HopSender;
  readonly #windows: Budget;
  readonly #buffers: Budget;
  readonly #hopReceiver: HopReceiver = createHopReceiver();
  readonly #outbox: Outbox;
  readonly #keepalive: Keepalive;
  readonly #host: StreamHost;
  readonly #challenge: Secret | undefined;
  readonly #settleReady: PromiseWithResolvers<SessionReady>;
  readonly #settleClosed: PromiseWithResolvers<SessionEnd>;
  readonly #settleDraining: PromiseWithResolvers<void>;
  #state: SessionState = "awaitingHello";
  #peer: Hello | undefined;
  #handshakeTimer: Timer | undefined;

  constructor(
    side: SessionSide,
    channel: MessageChannel,
    options: SessionOptions,
    deps: SessionDeps,
    role: { readonly dial?: DialOptions; readonly accept?: AcceptSessionOptions },
  ) {
    this.side = side;
    this.#channel = channel;
    this.#options = options;
    this.#dial = role.dial;
    this.#accept = role.accept;
    this.#deps = deps;
    this.#limits = { ...DEFAULT_HELLO_LIMITS, ...options.limits };
    this.#table = createStreamTable(side);
    this.#hopSender = createHopSender({ everyBytes: this.#limits.hopAckEveryBytes, ...options.hopWindow }, deps);
    this.#windows = createBudget(SESSION_BUDGET_BYTES, options.budgets?.windows);
    this.#buffers = createBudget(SESSION_BUDGET_BYTES, options.budgets?.buffers);
    this.#outbox = createOutbox(channel, this.#hopSender);
    this.#settleReady = Promise.withResolvers<SessionReady>();
    this.#settleClosed = Promise.withResolvers<SessionEnd>();
    this.ready = this.#settleReady.promise;
    this.ready.catch(() => {});
    this.closed = this.#settleClosed.promise;
    this.#settleDraining = Promise.withResolvers<void>();
    this.draining = this.#settleDraining.promise;
    this.#keepalive = createKeepalive(options.keepalive ?? {}, {
      clock: deps.clock,
      busy: () => this.#table.size > 0,
      ping: (payload) => this.#outbox.send("PING", 0, [payload]),
      dead: () => this.#lose(new ConnectError("CC_KEEPALIVE_TIMEOUT", "The peer did not answer two pings")),
    });
    this.#host = {
      send: (type, id, parts) => this.#outbox.send(type, id, parts),
      wake: (member) => this.#outbox.wake(member),
      release: (id, member) => this.#release(id, member),
      slabs: deps.slabs,
      now: () => deps.clock.now(),
      maxWindowBytes: Math.min(MAX_WINDOW_BYTES, this.#limits.maxWindowBytes),
      windows: this.#windows,
      buffers: this.#buffers,
    };
    this.#handshakeTimer = deps.clock.setTimer(options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS, () => {
      this.#fail(new ConnectError("CC_TIMEOUT", "The peer did not finish the handshake in time"));
    });
    if (side === "acceptor") {
      this.#challenge = deps.secret();
      this.#outbox.sendFirst("HELLO", [encodeHello({ ...this.#hello(), challenge: this.#challenge })]);
    }
    this.#inbox = createInbox(channel, {
      frame: (frame) => this.#onFrame(frame),
      failed: (error) => this.#fail(error),
    });
    this.#departure = createDeparture({
      clock: deps.clock,
      send: (payload) => this.#outbox.send("GOAWAY", 0, [payload]),
      openStreams: () => this.#table.size,
      lastPeerId: () => this.#table.lastPeerId,
      close: (end) => this.#depart(end),
    });
    channel.listen({
      message: (bytes) => this.#inbox.push(bytes),
      drain: () => {
        this.#outbox.flush();
        this.#inbox.drained();
      },
      close: (end) => this.#onChannelClose(end),
    });
  }

  get state(): SessionState {
    return this.#state;
  }

  /** The peer's HELLO once it came. */
  get peer(): Hello | undefined {
    return this.#peer;
  }

  /** What GOAWAY said while the session was up, as an error; undefined when neither side said one. */
  get goawayError(): ConnectError | undefined {
    return this.#departure.error;
  }

  get counters(): SessionCounters {
    return {
      state: this.#state,
      openStreams: this.#table.size,
      bytesReceived: this.#hopReceiver.receivedBytes,
      bytesSent: this.#outbox.dataBytes,
      bufferedBytes: this.#buffers.usedBytes,
      hopWindowBytes: this.#hopSender.capBytes,
      inFlightBytes: this.#hopSender.inFlightBytes,
      rttMs: this.#keepalive.rttMs,
    };
  }

  /**
   * Opens a stream. It may be written to at once: up to `INITIAL_WINDOW_BYTES` go out before the answer.
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
      sendLimit: INITIAL_WINDOW_BYTES,
      slabs: this.#deps.slabs,
    });
    const { host, streamId } = this.addMember(stream.endpoint, { kind: "open", open });
    stream.endpoint.link(host, streamId);
    if (options.signal !== undefined) stream.cancelBy(options.signal);
    return stream;
  }

  /** The whole OPEN for a request. */
  fillOpen(request: OpenRequest): Open {
    const { windowBytes = INITIAL_WINDOW_BYTES, key = this.#deps.secret(), graceMs = 0, forwarded = false } = request;
    return { ...request, windowBytes, key, graceMs, forwarded };
  }

  /**
   * Gives a new id to a stream whose frames are handled elsewhere, and sends its first frame.
   *
   * @throws ConnectError as {@link open}.
   */
  addMember(member: StreamMember, request: StreamRequest): { readonly host: StreamHost; readonly streamId: StreamId } {
    if (this.#state === "closed") throw new ConnectError("CC_SESSION_CLOSED", "The session is closed");
    if (this.#state === "draining") throw new ConnectError("CC_DRAINING", "The session takes no more streams");
    if (this.#peer !== undefined && this.#table.countOf("own") >= this.#peer.limits.maxStreams) {
      throw new ConnectError("CC_LIMIT_REACHED", `The peer takes at most ${this.#peer.limits.maxStreams} streams`);
    }
    const streamId = this.#table.addOwn(member);
    if (request.kind === "open") this.#outbox.send("OPEN", streamId, [encodeOpen(request.open)]);
    else this.#outbox.send("RESUME", streamId, [encodeResume(request.resume)]);
    this.#keepalive.wake();
    return { host: this.#host, streamId };
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
    this.#departure.say(options);
  }

  /** GOAWAY, then the end; resolves when it has come. Aborting the signal closes at once. */
  async drain(options: GoawayOptions & { readonly signal?: AbortSignal } = {}): Promise<SessionEnd> {
    const { signal } = options;
    const { code, text = "" } = options;
    const stop = (): void => this.#depart({ code, text, by: "local", retryAfterMs: 0 });
    signal?.addEventListener("abort", stop, { once: true });
    this.goaway(options);
    if (signal?.aborted === true) stop();
    try {
      return await this.closed;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Ends the session now. With a code the peer learns why; without, its streams may go on elsewhere. */
  close(code?: ErrorCode, text = ""): void {
    if (this.#state === "closed") return;
    this.#sayAndClose(
      { ...(code === undefined ? {} : { code }), text },
      code === undefined ? CLOSE_NORMAL : CLOSE_POLICY,
    );
    this.#end({ code, text, by: "local", retryAfterMs: 0 });
  }

  /** Relays: tells the peer how many of them there are by now. */
  sayRelays(liveRelays: number): void {
    if (this.#state === "open") this.#outbox.send("RELAYS", 0, [encodeRelays(liveRelays)]);
  }

  /** Pings now: for a suspicion that the network changed. */
  probe(): void {
    this.#keepalive.probe();
  }

  #hello(): Hello {
    const { role, instanceId, software, liveRelays } = this.#options;
    const own = { versions: OWN_VERSIONS, role, instanceId, software, limits: this.#limits };
    return liveRelays === undefined ? own : { ...own, liveRelays };
  }

  #onFrame(frame: Frame): void {
    if (this.#state === "awaitingHello" || this.#state === "awaitingReady") {
      this.#onHandshakeFrame(frame);
      return;
    }
    const { type, streamId, payload } = frame;
    switch (type) {
      case "PING":
        this.#outbox.send("PONG", 0, [payload]);
        return;
      case "PONG":
        this.#onPong(payload);
        return;
      case "HOPACK": {
        const { received, everyBytes } = decodeHopAck(payload);
        this.#sendHopAck(this.#hopReceiver.setEvery(everyBytes));
        if (this.#hopSender.acked(received)) this.#onHopAcked();
        this.#outbox.flush();
        return;
      }
      case "GOAWAY":
        this.#onGoaway(decodeGoaway(payload));
        return;
      case "RELAYS":
        this.#options.onRelays?.(decodeRelays(payload));
        return;
      case "OPEN":
      case "RESUME":
        this.#onRequest(frame);
        return;
      case "DATA": {
        this.#sendHopAck(this.#hopReceiver.received(payload.length));
        this.#onStreamFrame(frame);
        return;
      }
      case "ACCEPT":
      case "REJECT":
      case "RESUMED":
      case "WINDOW":
      case "FIN":
      case "RESET":
        this.#onStreamFrame(frame);
        return;
      case "HELLO":
      case "READY":
        throw new ConnectError("CC_PROTOCOL", `${type} on stream ${streamId} of a session that is ${this.#state}`);
    }
  }

  #onPong(payload: Uint8Array): void {
    const ms = this.#keepalive.pong(payload);
    if (ms !== undefined) this.#hopSender.roundTrip(ms);
  }

  #sendHopAck(payload: Uint8Array | undefined): void {
    if (payload !== undefined) this.#outbox.send("HOPACK", 0, [payload]);
  }

  #onHopAcked(): void {
    this.#keepalive.alive();
    const every = this.#hopSender.wantedEvery();
    if (every !== undefined) this.#sendHopAck(this.#hopReceiver.ask(every));
  }

  #onHandshakeFrame(frame: Frame): void {
    if (frame.type === "GOAWAY") {
      const goaway = decodeGoaway(frame.payload);
      this.#channel.close(CLOSE_NORMAL, "");
      this.#end({
        code: goaway.code ?? "CC_SESSION_CLOSED",
        text: goaway.text === "" ? "The peer refused the session" : goaway.text,
        by: "peer",
        retryAfterMs: goaway.retryAfterMs,
      });
    } else if (frame.type === "HELLO" && this.#state === "awaitingHello") {
      this.#onHello(decodeHello(frame.payload));
    } else if (frame.type === "READY" && this.#state === "awaitingReady" && this.#peer !== undefined) {
      const ready = decodeReady(frame.payload);
      if (ready.minor !== negotiateMinor(OWN_VERSIONS, this.#peer.versions)) {
        throw new ConnectError("CC_VERSION_UNSUPPORTED", `The peer wants minor version ${ready.minor}`);
      }
      this.#advance("readyReceived");
      this.#begin({ ...ready, peer: this.#peer });
    } else {
      throw new ConnectError("CC_PROTOCOL", `${frame.type} does not go with a session that is ${this.#state}`);
    }
  }

  #onHello(peer: Hello): void {
    this.#peer = peer;
    this.#advance("helloReceived");
    const minor = negotiateMinor(OWN_VERSIONS, peer.versions);
    if (minor === undefined) {
      const versions = `${peer.versions.oldestMinor} to ${peer.versions.minor}`;
      throw new ConnectError("CC_VERSION_UNSUPPORTED", `The peer speaks minor versions ${versions}`);
    }
    this.#hopReceiver.setEvery(peer.limits.hopAckEveryBytes);
    // What follows HELLO waits until it is answered.
    this.#inbox.hold();
    const answered = this.#accept === undefined ? this.#sendHello(peer) : this.#judge(peer, minor);
    answered.then(
      () => this.#inbox.release(),
      (error: unknown) => this.#fail(toConnectError(error)),
    );
  }

  async #sendHello(peer: Hello): Promise<void> {
    const agent = await this.#dial?.prove?.(peer);
    if (this.#state !== "awaitingReady") return;
    this.#outbox.sendFirst("HELLO", [encodeHello({ ...this.#hello(), ...(agent === undefined ? {} : { agent }) })]);
    this.#outbox.open();
  }

  async #judge(peer: Hello, minor: number): Promise<void> {
    if (this.#accept === undefined || this.#challenge === undefined) return;
    const { sessionId } = await this.#accept.authenticate(peer, this.#challenge);
    if (this.#state !== "authenticating") return;
    this.#outbox.sendFirst("READY", [encodeReady({ sessionId, minor })]);
    this.#advance("readySent");
    this.#outbox.open();
    this.#begin({ sessionId, minor, peer });
  }

  #begin(ready: SessionReady): void {
    this.#handshakeTimer?.cancel();
    this.#keepalive.start();
    this.#settleReady.resolve(ready);
  }

  #onGoaway(goaway: GoawayPayload): void {
    this.#advance("goaway");
    this.#settleDraining.resolve();
    this.#options.onGoaway?.(goaway);
    this.#departure.heard(goaway);
  }

  #onRequest(frame: Frame): void {
    const { streamId } = frame;
    this.#table.addPeer(streamId);
    if (this.#departure.refuses) {
      this.#refuse(streamId, "CC_DRAINING", "The session takes no more streams");
      return;
    }
    if (this.#table.countOf("peer") >= this.#limits.maxStreams) {
      this.#refuse(streamId, "CC_LIMIT_REACHED", `At most ${this.#limits.maxStreams} streams may be open`);
      return;
    }
    const { onStream } = this.#options;
    if (onStream === undefined) {
      this.#refuse(streamId, "CC_PROTOCOL", "This side takes no streams");
      return;
    }
    let incoming: IncomingStream | undefined;
    try {
      incoming = new IncomingStream(this.#host, streamId, requestOf(frame), (id, member) =>
        this.#table.set(id, member),
      );
      this.#table.set(streamId, incoming);
      this.#keepalive.wake();
      onStream(incoming);
    } catch (error) {
      const { code, message } = toConnectError(error);
      if (incoming === undefined) this.#refuse(streamId, code, message);
      else incoming.reject(code, message);
    }
  }

  #refuse(streamId: StreamId, code: ErrorCode, text: string): void {
    this.#outbox.send("REJECT", streamId, [encodeEnd({ code, text })]);
  }

  #onStreamFrame(frame: Frame): void {
    const member = this.#table.get(frame.streamId);
    if (member === undefined) {
      if (this.#table.known(frame.streamId)) return;
      throw new ConnectError("CC_PROTOCOL", `${frame.type} for stream ${frame.streamId}, which was never opened`);
    }
    try {
      member.frame(frame);
    } catch (error) {
      member.fail(toConnectError(error));
    }
  }

  #release(id: StreamId, member: StreamMember): void {
    if (!this.#table.remove(id, member)) return;
    this.#outbox.remove(member);
    this.#departure.streamEnded();
  }

  /** The channel closes as it was announced. */
  #depart(end: SessionEnd): void {
    if (this.#state === "closed") return;
    this.#outbox.flush();
    this.#channel.close(CLOSE_GOING_AWAY, "");
    this.#end(end);
  }

  #sayAndClose(options: GoawayOptions, closeCode: number): void {
    this.#outbox.flush();
    this.#outbox.sendFirst("GOAWAY", [goawayPayload(options, this.#table.lastPeerId)]);
    this.#channel.close(closeCode, "");
  }

  /** This side ends the session because of an error that it tells the peer. */
  #fail(error: ConnectError): void {
    if (this.#state === "closed") return;
    this.#sayAndClose({ code: error.code, text: error.message }, CLOSE_PROTOCOL);
    this.#end({ code: error.code, text: error.message, by: "local", retryAfterMs: 0 });
  }

  /** The channel is of no use any more. */
  #lose(error: ConnectError): void {
    if (this.#state === "closed") return;
    this.#end({ code: error.code, text: error.message, by: "network", retryAfterMs: 0 });
    this.#channel.terminate();
  }

  #onChannelClose(end: ChannelEnd): void {
    const announced = this.#departure.end;
    if (announced !== undefined) {
      this.#end(announced);
    } else if (end.code === CLOSE_NORMAL || end.code === CLOSE_GOING_AWAY) {
      this.#end({ code: undefined, text: end.reason, by: this.#departure.refuses ? "local" : "peer", retryAfterMs: 0 });
    } else {
      const how = end.code === CLOSE_LOST ? "was lost" : `was closed with code ${end.code}`;
      this.#end({ code: "CC_CHANNEL_LOST", text: `The channel ${how}`, by: "network", retryAfterMs: 0 });
    }
  }

  #end(end: SessionEnd): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#handshakeTimer?.cancel();
    this.#departure.cancel();
    this.#keepalive.stop();
    this.#outbox.close();
    this.#inbox.close();
    const text = end.text === "" ? "The session ended" : end.text;
    const error =
      end.code === undefined || suspends(end.code)
        ? new ConnectError("CC_CHANNEL_LOST", text)
        : new ConnectError(end.code, text);
    for (const member of this.#table.clear()) member.lost(error);
    const retry = end.retryAfterMs > 0 ? { retryAfterMs: end.retryAfterMs } : {};
    this.#settleReady.reject(new ConnectError(end.code ?? "CC_SESSION_CLOSED", text, retry));
    this.#settleClosed.resolve(end);
    this.#settleDraining.resolve();
  }

  #advance(event: SessionEvent): void {
    this.#state = nextSessionState(this.side, this.#state, event);
  }
}

function requestOf(frame: Frame): StreamRequest {
  return frame.type === "OPEN"
    ? { kind: "open", open: decodeOpen(frame.payload) }
    : { kind: "resume", resume: decodeResume(frame.payload) };
}
