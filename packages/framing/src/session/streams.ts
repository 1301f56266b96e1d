import {
  ConnectError,
  decodeOpen,
  decodeResume,
  type ErrorCode,
  encodeEnd,
  encodeOpen,
  encodeResume,
  MAX_WINDOW_BYTES,
  type StreamId,
  toConnectError,
} from "@cluster-connect/protocol";
import type { Frame } from "../frames/decode.ts";
import type { FrameWriter } from "../hop/frame-writer.ts";
import { IncomingStream, type StreamRequest } from "../stream/incoming.ts";
import type { StreamHost, StreamMember } from "../stream/member.ts";
import { type AnswerWatch, createAnswerWatch } from "./answer-watch.ts";
import type { SessionDeps } from "./deps.ts";
import type { SessionSide } from "./state.ts";
import { createStreamTable, type StreamTable } from "./stream-table.ts";

export interface SessionStreamsOptions {
  /** Streams of the peer's that may be open at once. */
  readonly maxStreams: number;
  readonly maxWindowBytes: number;
  readonly onStream: ((incoming: IncomingStream) => void) | undefined;
}

export interface SessionStreamsDeps {
  readonly session: SessionDeps;
  readonly writer: FrameWriter;
  readonly budgets: Pick<StreamHost, "initialWindows" | "windows" | "buffers">;
  /** GOAWAY was said: no stream of the peer's is taken. */
  readonly refuses: () => boolean;
  /** A stream of this side's was not answered in time. */
  readonly late: () => void;
  /** A stream begins, of either side; one has ended. */
  readonly began: () => void;
  readonly ended: () => void;
}

/** The streams of a session: gives them ids and takes frames to them. */
export class SessionStreams {
  /** Services of the session for its streams. */
  readonly host: StreamHost;
  readonly #table: StreamTable;
  readonly #options: SessionStreamsOptions;
  readonly #deps: SessionStreamsDeps;
  readonly #answers: AnswerWatch;
  #resumedStreams = 0;
  readonly #replace = (id: StreamId, member: StreamMember): void => this.#table.set(id, member);

  constructor(side: SessionSide, options: SessionStreamsOptions, deps: SessionStreamsDeps) {
    const { session, writer, budgets } = deps;
    this.#table = createStreamTable(side);
    this.#options = options;
    this.#deps = deps;
    this.#answers = createAnswerWatch({ clock: session.clock, late: deps.late });
    this.host = {
      send: (type, id, parts) => writer.send(type, id, parts),
      wake: (member) => writer.wake(member),
      release: (id, member) => this.#release(id, member),
      resumed: () => {
        this.#resumedStreams += 1;
      },
      slabs: session.slabs,
      now: () => session.clock.monotonicNow(),
      maxWindowBytes: Math.min(MAX_WINDOW_BYTES, options.maxWindowBytes),
      ...budgets,
    };
  }

  get size(): number {
    return this.#table.size;
  }

  /** How many streams have gone on in this session. */
  get resumedStreams(): number {
    return this.#resumedStreams;
  }

  /** Highest id the peer opened so far. */
  get lastPeerId(): StreamId {
    return this.#table.lastPeerId;
  }

  /**
   * Begins a stream of this side's with its first frame.
   *
   * @param peerTakes streams of this side's that the peer takes at once, as far as it has said so.
   * @throws ConnectError `CC_LIMIT_REACHED` when there are as many; `CC_DRAINING` when the ids are used up.
   */
  add(member: StreamMember, request: StreamRequest, peerTakes: number | undefined): StreamId {
    if (peerTakes !== undefined && this.#table.countOf("own") >= peerTakes) {
      throw new ConnectError("CC_LIMIT_REACHED", `The peer takes at most ${peerTakes} streams`);
    }
    const streamId = this.#table.addOwn(member);
    const { writer } = this.#deps;
    if (request.kind === "open") writer.send("OPEN", streamId, [encodeOpen(request.open)]);
    else writer.send("RESUME", streamId, [encodeResume(request.resume)]);
    this.#answers.asked(streamId);
    this.#deps.began();
    return streamId;
  }

  /**
   * A stream that the peer begins.
   *
   * @throws ConnectError `CC_PROTOCOL` for an id that is not the peer's or does not grow.
   */
  request(frame: Frame): void {
    const { streamId } = frame;
    const { onStream, maxStreams } = this.#options;
    this.#table.addPeer(streamId);
    if (this.#deps.refuses()) {
      this.#refuse(streamId, "CC_DRAINING", "The session takes no more streams");
    } else if (this.#table.countOf("peer") >= maxStreams) {
      this.#refuse(streamId, "CC_LIMIT_REACHED", `At most ${maxStreams} streams may be open`);
    } else if (onStream === undefined) {
      this.#refuse(streamId, "CC_PROTOCOL", "This side takes no streams");
    } else {
      this.#take(frame, onStream);
    }
  }

  /** @throws ConnectError `CC_PROTOCOL` for a stream that never was. */
  frame(frame: Frame): void {
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

  /** As {@link frame}, for the answer to a stream's first frame. */
  answer(frame: Frame): void {
    this.#answers.answered(frame.streamId);
    this.frame(frame);
  }

  /** The session is over. */
  lose(error: ConnectError): void {
    this.#answers.cancel();
    for (const member of this.#table.clear()) member.lost(error);
  }

  #take(frame: Frame, onStream: (incoming: IncomingStream) => void): void {
    const { streamId } = frame;
    let incoming: IncomingStream | undefined;
    try {
      incoming = new IncomingStream(this.host, streamId, requestOf(frame), this.#replace);
      this.#table.set(streamId, incoming);
      this.#deps.began();
      onStream(incoming);
    } catch (error) {
      const { code, message } = toConnectError(error);
      if (incoming === undefined) this.#refuse(streamId, code, message);
      else incoming.reject(code, message);
    }
  }

  #refuse(streamId: StreamId, code: ErrorCode, text: string): void {
    this.#deps.writer.send("REJECT", streamId, [encodeEnd({ code, text })]);
  }

  #release(id: StreamId, member: StreamMember): void {
    if (!this.#table.remove(id, member)) return;
    this.#answers.answered(id);
    this.#deps.writer.remove(member);
    this.#deps.ended();
  }
}

function requestOf(frame: Frame): StreamRequest {
  return frame.type === "OPEN"
    ? { kind: "open", open: decodeOpen(frame.payload) }
    : { kind: "resume", resume: decodeResume(frame.payload) };
}
