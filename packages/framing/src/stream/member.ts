import type { ConnectError, FrameType, StreamId } from "@cluster-connect/protocol";
import type { Budget } from "../bytes/budget.ts";
import type { SlabPool } from "../bytes/slab-pool.ts";
import type { Frame } from "../frames/decode.ts";

/** Methods that a session asks of everything that has a stream id in it: endpoints, and legs of forwarded streams. */
export interface StreamMember {
  /**
   * The payload of DATA is true during the call only.
   *
   * @throws ConnectError when the frame is against the rules; the session then calls {@link fail}.
   */
  frame(frame: Frame): void;
  /** This stream broke a rule: it is reset, the session goes on. */
  fail(error: ConnectError): void;
  /** The session is over; nothing can be sent in it any more. */
  lost(error: ConnectError): void;
  /**
   * The member's turn: sends one DATA frame of at most `maxBytes` (or the next whole one), and FIN when it is due.
   *
   * @returns DATA bytes sent and whether there is more to send now.
   */
  turn(maxBytes: number): { readonly bytes: number; readonly more: boolean };
}

/** Services of a session for its members. */
export interface StreamHost {
  /** Sends a frame now, before any DATA that waits for its turn. The parts of DATA are copied before this returns. */
  send(type: FrameType, streamId: StreamId, parts: readonly Uint8Array[]): void;
  /** The member has DATA to send and wants a turn. */
  wake(member: StreamMember): void;
  /** The stream is over here; its id stays used. */
  release(streamId: StreamId, member: StreamMember): void;
  /** A stream of an earlier session goes on in this one. */
  resumed(): void;
  /** Memory for the bytes of members. */
  readonly slabs: SlabPool;
  /** Milliseconds, as {@link Clock.monotonicNow}. */
  now(): number;
  /** Largest receive window a stream may have here. */
  readonly maxWindowBytes: number;
  /** Bytes that receive windows began with, of all streams of the session. */
  readonly initialWindows: Budget;
  /** Bytes that receive windows have grown by, of all streams of the session. */
  readonly windows: Budget;
  /** Bytes held for the session's streams: unread, waiting for a turn, or kept for a RESUME. */
  readonly buffers: Budget;
}
