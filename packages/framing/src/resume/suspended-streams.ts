import { type Caller, MIN_WINDOW_BYTES } from "@cluster-connect/protocol";
import { callerName, sameCaller } from "./same-caller.ts";
import type { TakerStream } from "./taker-stream.ts";

/** Streams that wait for their opener, with the bytes that each of them holds. */
export interface SuspendedStreams {
  readonly size: number;
  /** Ends the oldest streams of the heaviest caller; false when no caller holds more than the stream's own would. */
  makeRoom(stream: TakerStream): boolean;
  /** Adds a stream, or counts it anew. */
  add(stream: TakerStream): void;
  remove(stream: TakerStream): void;
  /** Oldest first. */
  list(): readonly TakerStream[];
}

/** Cost of a stream that holds no byte: its objects, and a socket to its upstream. */
const STREAM_BYTES = 32_768;

/** Room that so many streams need to wait with a smallest window full in each direction, bytes. */
export function suspendedBytesOf(streams: number): number {
  return streams * (STREAM_BYTES + 2 * MIN_WINDOW_BYTES);
}

/** @param maxBytes bytes that all of them may hold together. */
export function createSuspendedStreams(maxBytes: number): SuspendedStreams {
  const heldBytes = new Map<TakerStream, number>();
  let total = 0;

  function remove(stream: TakerStream): void {
    total -= heldBytes.get(stream) ?? 0;
    heldBytes.delete(stream);
  }

  function heldBy(caller: Caller | undefined): number {
    let bytes = 0;
    for (const [stream, held] of heldBytes) if (sameCaller(stream.terms.caller, caller)) bytes += held;
    return bytes;
  }

  function heaviestCaller(): { readonly bytes: number; readonly oldest: TakerStream } | undefined {
    const byCaller = new Map<string, { bytes: number; readonly oldest: TakerStream }>();
    for (const [stream, held] of heldBytes) {
      const name = callerName(stream.terms.caller);
      const entry = byCaller.get(name) ?? { bytes: 0, oldest: stream };
      entry.bytes += held;
      byCaller.set(name, entry);
    }
    return [...byCaller.values()].toSorted((one, other) => other.bytes - one.bytes)[0];
  }

  return {
    get size() {
      return heldBytes.size;
    },
    makeRoom(stream) {
      const bytes = costOf(stream);
      while (total + bytes > maxBytes) {
        const heaviest = heaviestCaller();
        if (heaviest === undefined || heaviest.bytes <= heldBy(stream.terms.caller) + bytes) return false;
        heaviest.oldest.stream.reset("CC_RESUME_FULL", "Too much is held for streams without a channel");
      }
      return true;
    },
    add(stream) {
      const bytes = costOf(stream);
      remove(stream);
      heldBytes.set(stream, bytes);
      total += bytes;
    },
    remove,
    list: () => [...heldBytes.keys()],
  };
}

function costOf({ stream: { endpoint } }: TakerStream): number {
  return STREAM_BYTES + endpoint.retainedBytes + endpoint.unreadBytes;
}
