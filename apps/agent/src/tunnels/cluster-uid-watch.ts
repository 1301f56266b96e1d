import { type Clock, repeat } from "@cluster-connect/base";
import type { Session } from "@cluster-connect/framing";
import type { ClusterUid } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";

/** The cluster's UID, and the tunnels that it was told in. */
export interface ClusterUidWatch {
  /** The UID for a tunnel's proof; undefined while it is not known. */
  tell(session: Session): Promise<ClusterUid | undefined>;
  /**
   * Ends tunnels in which another UID was told, or none, until the signal is aborted: an agent may be quicker than its
   * auth proxy. They are dialed anew, and their streams go on there if the relay takes the cluster.
   */
  run(options: { readonly signal: AbortSignal; readonly intervalMs?: number }): Promise<void>;
}

const INTERVAL_MS = 1_000;

/** @param deps `read` gives the UID that the auth proxy has told by now. */
export function createClusterUidWatch(deps: {
  readonly read: () => Promise<ClusterUid | undefined>;
  readonly log: Logger;
  readonly clock: Clock;
}): ClusterUidWatch {
  const { read, log, clock } = deps;
  const told = new Map<Session, ClusterUid | undefined>();

  async function check(): Promise<void> {
    try {
      const uid = await read();
      if (uid === undefined) return;
      for (const [session, before] of told) {
        if (before === uid || session.state !== "open") continue;
        log.info({ event: "tunnel.retold", uid, before }, "tunnel closed: the cluster's UID is told in a new one");
        // Without a code its streams go on in the next tunnel.
        session.close();
      }
    } catch (error) {
      log.warn({ event: "cluster.uid.unreadable", ...errorFields(error) }, "the cluster's UID cannot be read");
    }
  }

  return {
    async tell(session) {
      const uid = await read();
      told.set(session, uid);
      void session.closed.then(() => told.delete(session));
      return uid;
    },
    run: ({ signal, intervalMs = INTERVAL_MS }) => repeat(check, { intervalMs, signal }, { clock }),
  };
}
