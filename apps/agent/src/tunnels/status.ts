import type { Session } from "@cluster-connect/framing";
import type { ConnectError } from "@cluster-connect/protocol";
import type { CheckResult } from "@cluster-connect/service";

/** How the tunnels to the relays under one name are. */
export interface TunnelStatus {
  /** A session begins; it is kept until it has ended. */
  dialed(session: Session): void;
  /** The session serves streams now; one before it may still drain. */
  up(session: Session): void;
  /** A session takes no more streams, or was not reached. */
  down(error: ConnectError): void;
  /** Sessions that have not ended, also those that drain. */
  sessions(): readonly Session[];
  check(): CheckResult;
}

export function createTunnelStatus(relay: URL): TunnelStatus {
  const sessions = new Set<Session>();
  const current = new Set<Session>();
  let last = "not reached yet";
  return {
    dialed(session) {
      sessions.add(session);
      void session.closed.then(() => sessions.delete(session));
    },
    up(session) {
      current.add(session);
      void session.draining.then(() => current.delete(session));
    },
    down(error) {
      last = error.message;
    },
    sessions: () => [...sessions],
    check() {
      if (current.size === 0) return { ok: false, text: `${relay.host}: ${last}` };
      const tunnels = [...current].map(({ counters: { openStreams, rttMs } }) => {
        const rtt = rttMs === undefined ? "" : `, round trip ${Math.round(rttMs)} ms`;
        return `open, ${openStreams} streams${rtt}`;
      });
      return { ok: true, text: `${relay.host}: ${tunnels.join("; ")}` };
    },
  };
}
