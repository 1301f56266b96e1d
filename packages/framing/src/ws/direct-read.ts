import type { OnReadOpts, Socket } from "node:net";

/** As much as a socket reads at once. */
const READ_BYTES = 65_536;

/**
 * Reads of one socket into the same memory, without a buffer of its own for each.
 *
 * A socket takes this only when it is made: `onread` goes into its options. Until {@link begin} it reads like any
 * other, so that the handshake before belongs to its own reader.
 */
export interface DirectRead {
  readonly onread: OnReadOpts;
  /** Names the socket that was made with `onread`. */
  of(socket: Socket): void;
  /** From now on every read goes to `take`, first the unread bytes that came. The bytes hold true during the call. */
  begin(take: (bytes: Uint8Array) => void): void;
}

export function createDirectRead(): DirectRead {
  let socket: Socket | undefined;
  let take: ((bytes: Uint8Array) => void) | undefined;

  return {
    onread: {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES),
      callback(count, buffer) {
        const bytes = buffer.subarray(0, count);
        if (take === undefined) socket?.push(Buffer.from(bytes));
        else take(bytes);
        return true;
      },
    },
    of(made) {
      socket = made;
    },
    begin(next) {
      for (let rest: unknown = socket?.read(); rest instanceof Uint8Array; rest = socket?.read()) next(rest);
      take = next;
    },
  };
}
