import { encodeHopAck, HOP_ACK_EVERY_BYTES } from "@cluster-connect/protocol";

/** The sending half of a hop: how much DATA may be in flight. */
export interface HopSender {
  /** Whether DATA may be sent now. */
  readonly open: boolean;
  readonly inFlightBytes: number;
  sent(bytes: number): void;
  /**
   * Takes a HOPACK.
   *
   * @returns whether it told anything new, which proves that the peer is alive.
   */
  acked(received: number): boolean;
}

/** The receiving half: counts DATA and says when to acknowledge. */
export interface HopReceiver {
  readonly receivedBytes: number;
  /** The peer asks for another interval; 0 keeps it. */
  setEvery(everyBytes: number): void;
  /** @returns the payload of a HOPACK when one is due. */
  received(bytes: number): Uint8Array | undefined;
}

export function createHopSender(): HopSender {
  let sentBytes = 0;
  let ackedBytes = 0;
  return {
    open: true,
    get inFlightBytes() {
      return sentBytes - ackedBytes;
    },
    sent(bytes) {
      sentBytes += bytes;
    },
    acked(received) {
      if (received <= ackedBytes || received > sentBytes) return false;
      ackedBytes = received;
      return true;
    },
  };
}

export function createHopReceiver(): HopReceiver {
  let every = HOP_ACK_EVERY_BYTES;
  let receivedBytes = 0;
  let ackedBytes = 0;
  return {
    get receivedBytes() {
      return receivedBytes;
    },
    setEvery(everyBytes) {
      if (everyBytes > 0) every = everyBytes;
    },
    received(bytes) {
      receivedBytes += bytes;
      if (receivedBytes - ackedBytes < every) return undefined;
      ackedBytes = receivedBytes;
      return encodeHopAck({ received: receivedBytes, everyBytes: 0 });
    },
  };
}
