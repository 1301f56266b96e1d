import { decodeHopAck } from "@cluster-connect/protocol";
import type { FrameWriter } from "./frame-writer.ts";
import { createHopReceiver, type HopReceiver, type HopSender } from "./hop-window.ts";
import type { Keepalive } from "./keepalive.ts";

/** Observations of one hop about its path: acknowledgements of DATA both ways, and round trips. */
export class HopAcknowledger {
  readonly #sender: HopSender;
  readonly #receiver: HopReceiver = createHopReceiver();
  readonly #keepalive: Keepalive;
  readonly #writer: FrameWriter;

  constructor(sender: HopSender, keepalive: Keepalive, writer: FrameWriter) {
    this.#sender = sender;
    this.#keepalive = keepalive;
    this.#writer = writer;
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
    if (ms === undefined) return;
    this.#sender.roundTrip(ms);
    // A peer that acknowledges more seldom than the window lets through would be waited for without an end.
    this.#askForInterval({ onlyShorter: true });
    this.#writer.flush();
  }

  onHopAck(payload: Uint8Array): void {
    const { received, everyBytes } = decodeHopAck(payload);
    this.#ack(this.#receiver.setEvery(everyBytes));
    if (this.#sender.acked(received)) {
      this.#keepalive.alive();
      this.#askForInterval({ onlyShorter: false });
    }
    this.#writer.flush();
  }

  #askForInterval({ onlyShorter }: { readonly onlyShorter: boolean }): void {
    const every = this.#sender.wantedEvery(onlyShorter);
    if (every !== undefined) this.#ack(this.#receiver.ask(every));
  }

  #ack(payload: Uint8Array | undefined): void {
    if (payload !== undefined) this.#writer.send("HOPACK", 0, [payload]);
  }
}
