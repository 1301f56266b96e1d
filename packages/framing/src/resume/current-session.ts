import { onAbort } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import type { Session } from "../session/session.ts";

/** The session that new streams go to, and the streams that wait until there is one. */
export class CurrentSession {
  readonly #waiting = new Set<() => void>();
  #session: Session | undefined;
  #closed = false;

  get closed(): boolean {
    return this.#closed;
  }

  /** The session, if it takes streams. */
  get usable(): Session | undefined {
    const session = this.#session;
    return session === undefined || session.state === "closed" || session.state === "draining" ? undefined : session;
  }

  use(session: Session): void {
    this.#session = session;
    this.#wake();
  }

  /** @throws the signal's reason, or ConnectError `CC_SESSION_CLOSED` after {@link close}. */
  async wait(signal: AbortSignal): Promise<Session> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#closed) throw new ConnectError("CC_SESSION_CLOSED", "No more streams are opened");
      const { usable } = this;
      if (usable !== undefined) return usable;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      const leave = onAbort(signal, resolve);
      await promise;
      this.#waiting.delete(resolve);
      leave();
    }
  }

  /** Ends every wait. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
  }
}
