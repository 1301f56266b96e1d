import type { Caller, ClusterId, ConnectError } from "@cluster-connect/protocol";
import type { Clock, Timer } from "./clock.ts";
import { suspends } from "./lost.ts";
import type { MuxStream, StreamEnd, StreamKeeper } from "./stream.ts";

/** What a RESUME has to match, and how long it may take to come. */
export interface HeldFor {
  /** The digest of the stream's key, base64. */
  readonly digest: string;
  readonly cluster: ClusterId;
  readonly caller: Caller | undefined;
  readonly graceMs: number;
}

/** What the streams of a registry have in common. */
export interface HeldDeps {
  readonly clock: Clock;
  /** Whether this one may wait for its opener too. */
  readonly maySuspend: (held: HeldStream) => boolean;
  readonly onSuspended: (held: HeldStream) => void;
  readonly onEnded: (held: HeldStream, error: ConnectError | undefined) => void;
}

/** A taker's stream that waits for a RESUME when its channel is lost. */
export class HeldStream implements StreamKeeper {
  readonly stream: MuxStream;
  readonly heldFor: HeldFor;
  readonly #deps: HeldDeps;
  #attempt = 0;
  #timer: Timer | undefined;

  constructor(stream: MuxStream, heldFor: HeldFor, deps: HeldDeps) {
    this.stream = stream;
    this.heldFor = heldFor;
    this.#deps = deps;
  }

  /** The last RESUME that was followed. */
  get attempt(): number {
    return this.#attempt;
  }

  suspended(error: ConnectError): boolean {
    const { maySuspend, onSuspended, clock } = this.#deps;
    if (!suspends(error.code) || !maySuspend(this)) return false;
    onSuspended(this);
    this.#timer?.cancel();
    this.#timer = clock.setTimer(this.heldFor.graceMs, () => {
      this.stream.reset("CC_RESUME_EXPIRED", "The stream was without a channel for longer than its grace time");
    });
    return true;
  }

  answered(): void {}

  /** The opener has come back. */
  resumed(attempt: number): void {
    this.#attempt = attempt;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  ended(end: StreamEnd): void {
    this.#timer?.cancel();
    this.#deps.onEnded(this, end.kind === "reset" ? end.error : undefined);
  }
}
