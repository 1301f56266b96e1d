import type { Session } from "@cluster-connect/framing";
import type { ConnectError } from "@cluster-connect/protocol";
import type { CheckResult } from "@cluster-connect/service";

/** How the tunnel to one relay is. */
export interface TunnelStatus {
  up(session: Session): void;
  down(error: ConnectError): void;
  /** The session that is ready, while there is one. */
  readonly session: Session | undefined;
  check(): CheckResult;
}

export function createTunnelStatus(relay: URL): TunnelStatus {
  let session: Session | undefined;
  let last = "not reached yet";
  return {
    up(next) {
      session = next;
    },
    down(error) {
      session = undefined;
      last = error.message;
    },
    get session() {
      return session;
    },
    check() {
      if (session === undefined) return { ok: false, text: `${relay.host}: ${last}` };
      const { openStreams, rttMs } = session.counters;
      const rtt = rttMs === undefined ? "" : `, round trip ${Math.round(rttMs)} ms`;
      return { ok: true, text: `${relay.host}: open, ${openStreams} streams${rtt}` };
    },
  };
}
