import type { Session } from "@cluster-connect/framing";
import type { ConnectError } from "@cluster-connect/protocol";
import type { CheckResult } from "@cluster-connect/service";

/** How the tunnel to one relay is. */
export interface TunnelStatus {
  /** A session begins; it is kept until it has ended. */
  dialed(session: Session): void;
  /** The session serves streams now; one before it may still drain. */
  up(session: Session): void;
  down(error: ConnectError): void;
  /** Sessions that have not ended, also those that drain. */
  sessions(): readonly Session[];
  check(): CheckResult;
}

export function createTunnelStatus(relay: URL): TunnelStatus {
  const sessions = new Set<Session>();
  let current: Session | undefined;
  let last = "not reached yet";
  return {
    dialed(session) {
      sessions.add(session);
      void session.closed.then(() => sessions.delete(session));
    },
    up(session) {
      current = session;
    },
    down(error) {
      current = undefined;
      last = error.message;
    },
    sessions: () => [...sessions],
    check() {
      if (current === undefined) return { ok: false, text: `${relay.host}: ${last}` };
      const { openStreams, rttMs } = current.counters;
      const rtt = rttMs === undefined ? "" : `, round trip ${Math.round(rttMs)} ms`;
      return { ok: true, text: `${relay.host}: open, ${openStreams} streams${rtt}` };
    },
  };
}
