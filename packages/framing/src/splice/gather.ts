import type { Socket } from "node:net";

/** Chunks from this size on are bulk, whose next part is likely to come within this turn of the event loop. */
const BULK_BYTES = 4_096;

/** Gathers the bulk of one turn of the event loop into one write to a socket; small chunks leave at once. */
export class Gather {
  readonly #socket: Socket;
  #gathering = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  before(chunk: Uint8Array): void {
    if (this.#gathering || chunk.length < BULK_BYTES) return;
    this.#gathering = true;
    this.#socket.cork();
    setImmediate(releaseGathered, this);
  }

  /** Lets go of the gathered bytes. */
  release(): void {
    if (!this.#gathering) return;
    this.#gathering = false;
    this.#socket.uncork();
  }
}

function releaseGathered(gather: Gather): void {
  gather.release();
}
