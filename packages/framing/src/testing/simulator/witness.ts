import {
  decodeAccept,
  decodeGoaway,
  decodeOpen,
  decodeResume,
  decodeResumed,
  decodeU64,
  decodeWindow,
  type FrameType,
  MAX_STREAM_ID,
  MAX_WINDOW_BYTES,
  type Offsets,
  type StreamId,
  unaskedBytesOf,
} from "@cluster-connect/protocol";
import { createDecoder, type Frame } from "../../frames/decode.ts";
import type { ChannelSide } from "../memory-channel.ts";

/** Sees what passes one channel and holds it against docs/protocol.md, knowing nothing of the two ends. */
export interface Witness {
  /** A message arrives; returns the types of its frames. */
  sees(bytes: Uint8Array, from: ChannelSide): readonly FrameType[];
}

/** One direction of one stream on this channel. */
interface WitnessedDirection {
  /** Bytes sent into it, and up to where there is credit. */
  offset: number;
  limit: number;
  consumed: number;
  /** DATA has passed since the direction's first offset became known, after which FIN cannot be an old one. */
  moved: boolean;
  finAt: number | undefined;
  /** RESET, or REJECT, was the sender's end. */
  over: boolean;
}

interface Passing {
  readonly opener: ChannelSide;
  readonly resume: boolean;
  readonly directions: Readonly<Record<ChannelSide, WitnessedDirection>>;
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
    const towardsOpener = resume
      ? directionFrom(decodeResume(payload))
      : newDirection(0, decodeOpen(payload).windowBytes);
    const towardsTaker = newDirection(0, resume ? 0 : unaskedBytesOf(decodeOpen(payload)));
    const directions =
      from === "dialer"
        ? { dialer: towardsTaker, acceptor: towardsOpener }
        : { dialer: towardsOpener, acceptor: towardsTaker };
    streams.set(streamId, { opener: from, resume, directions, answered: false });
  }

  function answer({ type, streamId, payload }: Frame, from: ChannelSide, stream: Passing): string | undefined {
    if (from === stream.opener) return "from the opener";
    if (stream.answered) return "as a second answer";
    stream.answered = true;
    if (type !== "REJECT" && streamId > takesTo[from]) return "after a GOAWAY that excluded it";
    const direction = stream.directions[stream.opener];
    switch (type) {
      case "ACCEPT":
        direction.limit = Math.max(direction.limit, decodeAccept(payload).windowBytes);
        return stream.resume ? "to RESUME" : undefined;
      case "RESUMED":
        Object.assign(direction, { ...directionFrom(decodeResumed(payload)), over: direction.over });
        return stream.resume ? undefined : "to OPEN";
      default:
        stream.directions[from].over = true;
        return undefined;
    }
  }

  function judge(frame: Frame, from: ChannelSide, stream: Passing): string | undefined {
    const direction = stream.directions[from];
    if (direction.over) return "after the sender's end";
    const early = !stream.answered && (stream.resume || from !== stream.opener);
    switch (frame.type) {
      case "ACCEPT":
      case "RESUMED":
      case "REJECT":
        return answer(frame, from, stream);
      case "DATA":
        return early ? "before the answer" : passes(direction, frame.payload.length);
      case "FIN":
        return early ? "before the answer" : ends(direction, decodeU64(frame.payload));
      case "WINDOW":
        return stream.answered ? credits(stream.directions[otherThan(from)], frame.payload) : "before the answer";
      case "RESET":
        direction.over = true;
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

function newDirection(offset: number, limit: number): WitnessedDirection {
  return { offset, limit, consumed: 0, moved: false, finAt: undefined, over: false };
}

/** The direction towards the sender of these offsets. */
function directionFrom({ received, consumed, windowBytes }: Offsets): WitnessedDirection {
  return { ...newDirection(received, consumed + Math.min(windowBytes, MAX_WINDOW_BYTES)), consumed };
}

function passes(direction: WitnessedDirection, bytes: number): string | undefined {
  if (direction.finAt !== undefined) return "after FIN";
  if (bytes === 0) return "without a byte";
  direction.offset += bytes;
  direction.moved = true;
  return direction.offset > direction.limit
    ? `${direction.offset - direction.limit} bytes beyond the credit`
    : undefined;
}

function ends(direction: WitnessedDirection, final: number): string | undefined {
  if (direction.finAt !== undefined) return "a second time";
  // The bytes received before may have counted FIN.
  if (final !== direction.offset && (direction.moved || final !== direction.offset - 1))
    return `at ${final} after ${direction.offset} bytes`;
  direction.finAt = final;
  direction.offset = final;
  return undefined;
}

function credits(direction: WitnessedDirection, payload: Uint8Array): string | undefined {
  const { consumed, windowBytes } = decodeWindow(payload);
  if (consumed < direction.consumed) return `with ${consumed} consumed after ${direction.consumed}`;
  const sent = direction.offset + (direction.finAt === undefined ? 0 : 1);
  if (consumed > sent) return `with ${consumed} consumed of ${sent} sent`;
  direction.consumed = consumed;
  direction.limit = Math.max(direction.limit, consumed + Math.min(windowBytes, MAX_WINDOW_BYTES));
  return undefined;
}
