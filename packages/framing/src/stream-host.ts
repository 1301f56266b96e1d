import type { ConnectError, FrameType, StreamId } from "@cluster-connect/protocol";
import type { Budget } from "./budget.ts";
import type { Frame } from "./decode.ts";
import type { SlabPool } from "./slab-pool.ts";

/** What a session asks of everything that has a stream id in it: endpoints, and legs of forwarded streams. */
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

/** What a session does for its members. */
export interface StreamHost {
  /** Sends a frame now, before any DATA that waits for its turn. The parts of DATA are copied before this returns. */
  send(type: FrameType, streamId: StreamId, parts: readonly Uint8Array[]): void;
  /** The member has DATA to send and wants a turn. */
  wake(member: StreamMember): void;
  /** The stream is over here; its id stays used. */
  release(streamId: StreamId, member: StreamMember): void;
  /** Memory for what members hold. */
  readonly slabs: SlabPool;
  /** Milliseconds, as {@link Clock.now}. */
  now(): number;
  /** Largest receive window a stream may have here. */
  readonly maxWindowBytes: number;
  /** What receive windows have grown by, of all streams of the session. */
  readonly windows: Budget;
  /** What is held for the session's streams: unread, waiting for a turn, or kept for a RESUME. */
  readonly buffers: Budget;
}
