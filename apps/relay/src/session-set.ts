import type { GoawayOptions, Session } from "@cluster-connect/framing";

/** The sessions of one kind that are open. */
export interface SessionSet {
  readonly size: number;
  /** Keeps a session until it has ended. */
  add(session: Session): void;
  /** GOAWAY to all; resolves when all have ended. Aborting the signal ends them at once. */
  drain(options: GoawayOptions & { readonly signal: AbortSignal }): Promise<void>;
  closeAll(): void;
}

export function createSessionSet(): SessionSet {
  const sessions = new Set<Session>();
  return {
    get size() {
      return sessions.size;
    },
    add(session) {
      sessions.add(session);
      void session.closed.then(() => sessions.delete(session));
    },
    async drain(options) {
      await Promise.all([...sessions].map((session) => session.drain(options)));
    },
    closeAll() {
      for (const session of sessions) session.close();
    },
  };
}
