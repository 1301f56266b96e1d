import type { Socket } from "node:net";

/** One direction of a link. */
export interface Way {
  readonly from: Socket;
  readonly to: Socket;
}

/** The treatment of everything that one side says. */
export interface Passage {
  bytes(chunk: Buffer, way: Way): void;
  /** It half-closed. */
  end(way: Way): void;
  /** It broke off. */
  reset(way: Way): void;
}

/** Everything passes at once. */
export const OPEN: Passage = {
  bytes(chunk, { from, to }) {
    if (!to.write(chunk) && to.writableLength > 0) from.pause();
  },
  end: ({ to }) => void to.end(),
  reset: ({ to }) => void to.resetAndDestroy(),
};

/** Two sockets that a fault proxy joins. */
export class Link {
  /** Resolves when both sockets are gone. */
  readonly closed: Promise<void>;
  passage: Passage = OPEN;
  readonly #ways: readonly [Way, Way];
  #stalled = false;

  constructor(near: Socket, far: Socket) {
    this.#ways = [
      { from: near, to: far },
      { from: far, to: near },
    ];
    this.closed = Promise.all(this.#ways.map((way) => this.#watch(way))).then(() => undefined);
  }

  /** Nothing is read any more: what is sent stays in the system's buffers until they are full. */
  stall(): void {
    this.#stalled = true;
    for (const { from } of this.#ways) from.pause();
  }

  flow(): void {
    this.#stalled = false;
    for (const { from } of this.#ways) from.resume();
  }

  /** Breaks both sides off. */
  reset(): void {
    for (const { from } of this.#ways) from.resetAndDestroy();
  }

  #watch(way: Way): Promise<void> {
    const { from, to } = way;
    from.on("data", (chunk: Buffer) => this.passage.bytes(chunk, way));
    from.once("end", () => this.passage.end(way));
    to.on("drain", () => {
      if (!this.#stalled) from.resume();
    });
    // The close that follows tells what it means.
    from.on("error", () => {});
    return new Promise((resolve) => {
      from.once("close", () => {
        if (from.errored !== null || !from.readableEnded) this.passage.reset(way);
        resolve();
      });
    });
  }
}
