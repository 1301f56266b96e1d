import type { FrameType, StreamId } from "@cluster-connect/protocol";
import type { StreamHost, StreamMember } from "./stream-host.ts";

/** What an endpoint holds, which the session that carries it pays for. */
export interface Holding {
  /** What its receive window has grown by. */
  readonly grownBytes: number;
  /** Bytes kept for a RESUME, and bytes that its consumer has not taken. */
  readonly heldBytes: number;
}

/** An endpoint's place in a session. */
export class EndpointLink {
  readonly host: StreamHost;
  readonly id: StreamId;

  constructor(host: StreamHost, id: StreamId, { grownBytes, heldBytes }: Holding) {
    this.host = host;
    this.id = id;
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
  leave({ grownBytes, heldBytes }: Holding): void {
    this.host.windows.release(grownBytes);
    this.host.buffers.release(heldBytes);
  }
}
