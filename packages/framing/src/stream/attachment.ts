import type { FrameType, StreamId } from "@cluster-connect/protocol";
import type { StreamHost, StreamMember } from "./member.ts";

/** Bytes that an endpoint holds, which the session that carries it pays for. */
export interface Holding {
  /** Bytes that its receive window began with, and has grown by. */
  readonly initialBytes: number;
  readonly grownBytes: number;
  /** Bytes kept for a RESUME, and bytes that its consumer has not taken. */
  readonly heldBytes: number;
}

/** An endpoint's place in a session. */
export class Attachment {
  readonly host: StreamHost;
  readonly id: StreamId;

  constructor(host: StreamHost, id: StreamId, { initialBytes, grownBytes, heldBytes }: Holding) {
    this.host = host;
    this.id = id;
    host.initialWindows.hold(initialBytes);
    host.windows.hold(grownBytes);
    host.buffers.hold(heldBytes);
  }

  send(type: FrameType, parts: readonly Uint8Array[]): void {
    this.host.send(type, this.id, parts);
  }

  wake(member: StreamMember): void {
    this.host.wake(member);
  }

  /** The session pays no longer, whether or not it is told that the stream is over. */
  leave({ initialBytes, grownBytes, heldBytes }: Holding): void {
    this.host.initialWindows.release(initialBytes);
    this.host.windows.release(grownBytes);
    this.host.buffers.release(heldBytes);
  }
}
