import type { Clock, Timer } from "@cluster-connect/base";
import type { Caller, ClusterId, ConnectError } from "@cluster-connect/protocol";
import type { MuxStream, StreamEnd, StreamKeeper } from "../stream/mux-stream.ts";
import { suspends } from "./lost.ts";

/** Terms that a RESUME has to match, and how long it may take to come. */
export interface TakerStreamTerms {
  /** The digest of the stream's key, base64. */
  readonly digest: string;
  readonly cluster: ClusterId;
  readonly upstream: string;
  readonly caller: Caller | undefined;
  readonly graceMs: number;
}

/** Dependencies that the streams of a registry share. */
export interface TakerStreamDeps {
  readonly clock: Clock;
  /** Whether this one may wait for its opener too. */
  readonly maySuspend: (stream: TakerStream) => boolean;
  readonly onSuspended: (stream: TakerStream) => void;
  readonly onEnded: (stream: TakerStream, error: ConnectError | undefined) => void;
}

/** A taker's stream that waits for a RESUME when its channel is lost. */
export class TakerStream implements StreamKeeper {
  readonly stream: MuxStream;
  readonly terms: TakerStreamTerms;
  readonly #deps: TakerStreamDeps;
  #attempt = 0;
  #timer: Timer | undefined;

  constructor(stream: MuxStream, terms: TakerStreamTerms, deps: TakerStreamDeps) {
    this.stream = stream;
    this.terms = terms;
    this.#deps = deps;
  }

  /** The last RESUME that was followed. */
  get attempt(): number {
    return this.#attempt;
  }

  suspended(error: ConnectError): boolean {
    const { maySuspend, onSuspended, clock } = this.#deps;
    if (!suspends(error.code)) return false;
    if (!maySuspend(this)) {
      this.stream.reset("CC_RESUME_FULL", "Too much is held for streams without a channel");
      return true;
    }
    onSuspended(this);
    this.#timer?.cancel();
    this.#timer = clock.setTimer(this.terms.graceMs, () => {
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
