import { ConnectError, MAX_WINDOW_BYTES } from "@cluster-connect/protocol";

/** The bytes that a sender may send: everything below `limit`, an absolute offset that never falls. */
export class SendWindow {
  #limit: number;
  #consumed = 0;

  constructor(initialLimit: number) {
    this.#limit = initialLimit;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Everything below was taken by the peer's consumer. */
  get consumed(): number {
    return this.#consumed;
  }

  /**
   * Takes a WINDOW, or the same numbers from ACCEPT, RESUME and RESUMED.
   *
   * @param sentTo offset up to which bytes, and FIN as one byte more, went out so far.
   * @throws ConnectError `CC_FLOW_CONTROL` when more was consumed than sent.
   */
  credit(consumed: number, windowBytes: number, sentTo: number): void {
    if (consumed > sentTo) {
      throw new ConnectError("CC_FLOW_CONTROL", `The peer consumed up to ${consumed}, but only ${sentTo} were sent`);
    }
    this.#consumed = Math.max(this.#consumed, consumed);
    // A peer that promises more cannot make this side keep more for it.
    this.#limit = Math.max(this.#limit, consumed + Math.min(windowBytes, MAX_WINDOW_BYTES));
  }
}

/** Credit is given at the latest for so much: of a large window a quarter would be missing on a long path. */
const MAX_CREDIT_BYTES = 262_144;

/** Credit is given when so much of a window was taken: a quarter of a small one, less of a large one. */
export function creditStep(windowBytes: number): number {
  return Math.min(MAX_CREDIT_BYTES, windowBytes / 4);
}

/** The bytes that a receiver accepts, and when it gives credit back. */
export class ReceiveWindow {
  #windowBytes: number;
  #announced = 0;
  #limit: number;

  /** @param floor offset that is promised with any window: an opener may send that much unasked. */
  constructor(initialBytes: number, floor = 0) {
    this.#windowBytes = initialBytes;
    this.#limit = Math.max(initialBytes, floor);
  }

  get windowBytes(): number {
    return this.#windowBytes;
  }

  /** Highest offset that was promised to the sender. */
  get limit(): number {
    return this.#limit;
  }

  /** @throws ConnectError `CC_FLOW_CONTROL` when the direction has come to an offset beyond the credit. */
  check(receivedTo: number): void {
    if (receivedTo <= this.#limit) return;
    throw new ConnectError("CC_FLOW_CONTROL", `${receivedTo - this.#limit} bytes came beyond the window`);
  }

  /** Whether enough was taken since the last credit to say so. */
  due(consumed: number): boolean {
    return consumed - this.#announced >= creditStep(this.#windowBytes);
  }

  /** Gives credit, with another window from now on if one is named; offsets that were promised stay promised. */
  announce(
    consumed: number,
    windowBytes: number = this.#windowBytes,
  ): { readonly consumed: number; readonly windowBytes: number } {
    this.#announced = consumed;
    this.#windowBytes = windowBytes;
    this.#limit = Math.max(this.#limit, consumed + windowBytes);
    return { consumed, windowBytes };
  }
}
