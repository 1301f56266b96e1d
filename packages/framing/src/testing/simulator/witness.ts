import {
  decodeAccept,
  decodeGoaway,
  decodeOpen,
  decodeResume,
  decodeResumed,
  decodeU64,
  decodeWindow,
  type FrameType,
  INITIAL_WINDOW_BYTES,
  MAX_STREAM_ID,
  MAX_WINDOW_BYTES,
  type Offsets,
  type StreamId,
} from "@cluster-connect/protocol";
import { createDecoder, type Frame } from "../../decode.ts";
import type { ChannelSide } from "../memory-channel.ts";

/** Sees what passes one channel and holds it against docs/protocol.md, knowing nothing of the two ends. */
export interface Witness {
  /** A message arrives; returns the types of its frames. */
  sees(bytes: Uint8Array, from: ChannelSide): readonly FrameType[];
}

/** One direction of one stream on this channel. */
interface Way {
  /** Bytes sent into it, and up to where there is credit. */
  offset: number;
  limit: number;
  consumed: number;
  /** DATA has passed since the way's first offset became known, after which FIN cannot be an old one. */
  moved: boolean;
  finAt: number | undefined;
  /** RESET, or REJECT, was the sender's last word. */
  over: boolean;
}

interface Passing {
  readonly opener: ChannelSide;
  readonly resume: boolean;
  readonly ways: Readonly<Record<ChannelSide, Way>>;
  answered: boolean;
}

/** @param broken is told of each breach, in words. */
export function createWitness(broken: (what: string) => void): Witness {
  const decoders = { dialer: createDecoder(), acceptor: createDecoder() };
  const lastId = { dialer: 0, acceptor: 0 };
  const takesTo = { dialer: MAX_STREAM_ID, acceptor: MAX_STREAM_ID };
  const greeted = { dialer: false, acceptor: false };
  const streams = new Map<StreamId, Passing>();

  function begin({ type, streamId, payload }: Frame, from: ChannelSide): void {
    if (streamId <= lastId[from] || (streamId % 2 === 1) !== (from === "dialer")) {
      broken(`${type} of ${from} with id ${streamId} after ${lastId[from]}`);
    }
    lastId[from] = streamId;
    const resume = type === "RESUME";
    const towardsOpener = resume ? wayFrom(decodeResume(payload)) : newWay(0, decodeOpen(payload).windowBytes);
    const towardsTaker = newWay(0, resume ? 0 : INITIAL_WINDOW_BYTES);
    const ways =
      from === "dialer"
        ? { dialer: towardsTaker, acceptor: towardsOpener }
        : { dialer: towardsOpener, acceptor: towardsTaker };
    streams.set(streamId, { opener: from, resume, ways, answered: false });
  }

  function answer({ type, streamId, payload }: Frame, from: ChannelSide, stream: Passing): string | undefined {
    if (from === stream.opener) return "from the opener";
    if (stream.answered) return "as a second answer";
    stream.answered = true;
    if (type !== "REJECT" && streamId > takesTo[from]) return "after a GOAWAY that excluded it";
    const way = stream.ways[stream.opener];
    switch (type) {
      case "ACCEPT":
        way.limit = Math.max(way.limit, decodeAccept(payload).windowBytes);
        return stream.resume ? "to RESUME" : undefined;
      case "RESUMED":
        Object.assign(way, { ...wayFrom(decodeResumed(payload)), over: way.over });
        return stream.resume ? undefined : "to OPEN";
      default:
        stream.ways[from].over = true;
        return undefined;
    }
  }

  function judge(frame: Frame, from: ChannelSide, stream: Passing): string | undefined {
    const way = stream.ways[from];
    if (way.over) return "after the sender's last word";
    const early = !stream.answered && (stream.resume || from !== stream.opener);
    switch (frame.type) {
      case "ACCEPT":
      case "RESUMED":
      case "REJECT":
        return answer(frame, from, stream);
      case "DATA":
        return early ? "before the answer" : passes(way, frame.payload.length);
      case "FIN":
        return early ? "before the answer" : ends(way, decodeU64(frame.payload));
      case "WINDOW":
        return stream.answered ? credits(stream.ways[otherThan(from)], frame.payload) : "before the answer";
      case "RESET":
        way.over = true;
        return undefined;
      default:
        return "on a stream";
    }
  }

  function see(frame: Frame, from: ChannelSide): void {
    const { type, streamId } = frame;
    if (!greeted[from] && type !== "HELLO" && type !== "GOAWAY") broken(`${type} of ${from} before HELLO`);
    if (greeted[from] && type === "HELLO") broken(`a second HELLO of ${from}`);
    greeted[from] ||= type === "HELLO";
    if (type === "GOAWAY") takesTo[from] = decodeGoaway(frame.payload).lastStreamId;
    if (streamId === 0) return;
    if (type === "OPEN" || type === "RESUME") {
      begin(frame, from);
      return;
    }
    const stream = streams.get(streamId);
    const breach = stream === undefined ? "on a stream that was never opened" : judge(frame, from, stream);
    if (breach !== undefined) broken(`${type} of ${from} on stream ${streamId} ${breach}`);
  }

  return {
    sees(bytes, from) {
      const types: FrameType[] = [];
      const decoder = decoders[from];
      decoder.push(bytes);
      for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
        types.push(frame.type);
        see(frame, from);
      }
      return types;
    },
  };
}

function otherThan(side: ChannelSide): ChannelSide {
  return side === "dialer" ? "acceptor" : "dialer";
}

function newWay(offset: number, limit: number): Way {
  return { offset, limit, consumed: 0, moved: false, finAt: undefined, over: false };
}

/** The way towards whoever says these offsets. */
function wayFrom({ received, consumed, windowBytes }: Offsets): Way {
  return { ...newWay(received, consumed + Math.min(windowBytes, MAX_WINDOW_BYTES)), consumed };
}

function passes(way: Way, bytes: number): string | undefined {
  if (way.finAt !== undefined) return "after FIN";
  if (bytes === 0) return "without a byte";
  way.offset += bytes;
  way.moved = true;
  return way.offset > way.limit ? `${way.offset - way.limit} bytes beyond the credit` : undefined;
}

function ends(way: Way, final: number): string | undefined {
  if (way.finAt !== undefined) return "a second time";
  // What was received before may have counted FIN.
  if (final !== way.offset && (way.moved || final !== way.offset - 1)) return `at ${final} after ${way.offset} bytes`;
  way.finAt = final;
  way.offset = final;
  return undefined;
}

function credits(way: Way, payload: Uint8Array): string | undefined {
  const { consumed, windowBytes } = decodeWindow(payload);
  if (consumed < way.consumed) return `with ${consumed} consumed after ${way.consumed}`;
  const sent = way.offset + (way.finAt === undefined ? 0 : 1);
  if (consumed > sent) return `with ${consumed} consumed of ${sent} sent`;
  way.consumed = consumed;
  way.limit = Math.max(way.limit, consumed + Math.min(windowBytes, MAX_WINDOW_BYTES));
  return undefined;
}
