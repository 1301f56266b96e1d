import { ConnectError, MAX_WINDOW_BYTES } from "@cluster-connect/protocol";

/** What a sender may send: everything below `limit`, an absolute offset that never falls. */
export interface SendWindow {
  readonly limit: number;
  /** Everything below was taken by the peer's consumer. */
  readonly consumed: number;
  /**
   * Takes a WINDOW, or the same numbers from ACCEPT, RESUME and RESUMED.
   *
   * @param sentTo offset up to which bytes, and FIN as one byte more, went out so far.
   * @throws ConnectError `CC_FLOW_CONTROL` when more was consumed than sent.
   */
  credit(consumed: number, windowBytes: number, sentTo: number): void;
}

export function createSendWindow(initialLimit: number): SendWindow {
  let limit = initialLimit;
  let taken = 0;
  return {
    get limit() {
      return limit;
    },
    get consumed() {
      return taken;
    },
    credit(consumed, windowBytes, sentTo) {
      if (consumed > sentTo) {
        throw new ConnectError("CC_FLOW_CONTROL", `The peer consumed up to ${consumed}, but only ${sentTo} were sent`);
      }
      taken = Math.max(taken, consumed);
      // A peer that promises more cannot make this side keep more for it.
      limit = Math.max(limit, consumed + Math.min(windowBytes, MAX_WINDOW_BYTES));
    },
  };
}

/** What a receiver accepts, and when it gives credit back. */
export interface ReceiveWindow {
  readonly windowBytes: number;
  /** Highest offset that was promised to the sender. */
  readonly limit: number;
  /** @throws ConnectError `CC_FLOW_CONTROL` when the direction has come to an offset beyond the credit. */
  check(receivedTo: number): void;
  /** Whether enough was taken since the last credit to say so: a quarter of the window. */
  due(consumed: number): boolean;
  /** Gives credit, with another window from now on if one is named; offsets that were promised stay promised. */
  announce(consumed: number, windowBytes?: number): { readonly consumed: number; readonly windowBytes: number };
}

/** @param floor offset that is promised whatever the window: an opener may send that much unasked. */
export function createReceiveWindow(initialBytes: number, floor = 0): ReceiveWindow {
  let windowBytes = initialBytes;
  let announced = 0;
  let limit = Math.max(initialBytes, floor);
  return {
    get windowBytes() {
      return windowBytes;
    },
    get limit() {
      return limit;
    },
    check(receivedTo) {
      if (receivedTo <= limit) return;
      throw new ConnectError("CC_FLOW_CONTROL", `${receivedTo - limit} bytes came beyond the window`);
    },
    due: (consumed) => consumed - announced >= windowBytes / 4,
    announce(consumed, bytes = windowBytes) {
      announced = consumed;
      windowBytes = bytes;
      limit = Math.max(limit, consumed + windowBytes);
      return { consumed, windowBytes };
    },
  };
}
