import { MAX_CONTROL_BYTES } from "./wire.ts";

/** Answers to pings: the newest one is answered, however many come while the answer before it has not left. */
export interface Pongs {
  /** @param payload is true during the call only. */
  ping(payload: Uint8Array): void;
  /** A write has left: there is room for the next answer. */
  written(): void;
}

/**
 * @param send takes the payload of an answer, and copies it.
 * @see RFC 6455, section 5.5.3: only the most recent ping has to be answered.
 */
export function createPongs(send: (payload: Uint8Array) => void): Pongs {
  let isUnderWay = false;
  const newest = new Uint8Array(MAX_CONTROL_BYTES);
  let newestBytes: number | undefined;

  return {
    ping(payload) {
      if (isUnderWay) {
        newest.set(payload);
        newestBytes = payload.length;
        return;
      }
      isUnderWay = true;
      send(payload);
    },
    written() {
      isUnderWay = newestBytes !== undefined;
      if (newestBytes !== undefined) send(newest.subarray(0, newestBytes));
      newestBytes = undefined;
    },
  };
}
