import { decodeHopAck } from "@cluster-connect/protocol";
import { createHopReceiver, type HopReceiver, type HopSender } from "./hop-window.ts";
import type { Keepalive } from "./keepalive.ts";
import type { Outbox } from "./outbox.ts";

/** What one hop tells of its path: acknowledgements of DATA both ways, and round trips. */
export class Hop {
  readonly #sender: HopSender;
  readonly #receiver: HopReceiver = createHopReceiver();
  readonly #keepalive: Keepalive;
  readonly #outbox: Outbox;

  constructor(sender: HopSender, keepalive: Keepalive, outbox: Outbox) {
    this.#sender = sender;
    this.#keepalive = keepalive;
    this.#outbox = outbox;
  }

  /** DATA bytes since the session began. */
  get receivedBytes(): number {
    return this.#receiver.receivedBytes;
  }

  /** The peer's HELLO said how often it wants HOPACK. */
  wants(everyBytes: number): void {
    this.#receiver.setEvery(everyBytes);
  }

  received(bytes: number): void {
    this.#ack(this.#receiver.received(bytes));
  }

  onPong(payload: Uint8Array): void {
    const ms = this.#keepalive.pong(payload);
    if (ms !== undefined) this.#sender.roundTrip(ms);
  }

  onHopAck(payload: Uint8Array): void {
    const { received, everyBytes } = decodeHopAck(payload);
    this.#ack(this.#receiver.setEvery(everyBytes));
    if (this.#sender.acked(received)) {
      this.#keepalive.alive();
      const every = this.#sender.wantedEvery();
      if (every !== undefined) this.#ack(this.#receiver.ask(every));
    }
    this.#outbox.flush();
  }

  #ack(payload: Uint8Array | undefined): void {
    if (payload !== undefined) this.#outbox.send("HOPACK", 0, [payload]);
  }
}
