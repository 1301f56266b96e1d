import type { Session, StreamRequest } from "@cluster-connect/framing";
import { type ClusterId, ConnectError, type InstanceId } from "@cluster-connect/protocol";
import type { StoredRelay } from "../store/queries/relays.ts";
import type { StoredTunnel } from "../store/queries/tunnels.ts";
import type { Directory } from "./directory.ts";
import type { PeerSessions } from "./peer-sessions.ts";

/** The way to an agent through another relay. */
export interface PeerRoute {
  readonly session: Session;
  readonly relayId: InstanceId;
}

/** Finds the relay that holds a tunnel which this one does not. */
export interface Peers {
  /** @returns undefined when no relay holds one, or none that can be reached. */
  route(request: StreamRequest): Promise<PeerRoute | undefined>;
  /** Notes that the relay has no tunnel to the cluster any more, even if the store still says so. */
  wasWrong(relayId: InstanceId, clusterId: ClusterId): void;
}

/** A relay alone. */
export const NO_PEERS: Peers = { route: () => Promise.resolve(undefined), wasWrong: () => undefined };

/** A relay that proved wrong is not tried for this long; longer than it takes to read the store again. */
const WRONG_MS = 3_000;

export function createPeers(deps: {
  readonly directory: Directory;
  readonly peerSessions: PeerSessions;
  readonly now: () => number;
}): Peers {
  const { directory, peerSessions, now } = deps;
  const wrong = new Map<string, number>();

  function isWrong({ relayId, clusterId }: Pick<StoredTunnel, "relayId" | "clusterId">): boolean {
    const until = wrong.get(`${relayId} ${clusterId}`);
    if (until === undefined) return false;
    // The relay may have a new tunnel by now, and only the store would tell.
    if (until > now()) return true;
    wrong.delete(`${relayId} ${clusterId}`);
    return false;
  }

  function candidates(request: StreamRequest): readonly StoredRelay[] {
    const tunnels =
      request.kind === "open"
        ? directory.tunnels(request.open.cluster)
        : directory
            .tunnels(request.resume.cluster)
            .filter(({ agentInstanceId, follows }) =>
              [agentInstanceId, ...follows].includes(request.resume.instanceId),
            );
    return relaysOf(tunnels.filter((tunnel) => !isWrong(tunnel)));
  }

  /** In the order of their tunnels, those that can be reached at once before others. */
  function relaysOf(tunnels: readonly StoredTunnel[]): readonly StoredRelay[] {
    const found = [...new Set(tunnels.map(({ relayId }) => relayId))].flatMap((id) => directory.relay(id) ?? []);
    return found
      .filter(({ address }) => address !== "")
      .toSorted((a, b) => Number(peerSessions.isOpen(b.id)) - Number(peerSessions.isOpen(a.id)));
  }

  async function reach(relays: readonly StoredRelay[]): Promise<PeerRoute | undefined> {
    for (const relay of relays) {
      try {
        const session = await peerSessions.session(relay);
        if (session.state === "open") return { session, relayId: relay.id };
      } catch (error) {
        // Another one may hold a tunnel too; the link has logged why this one is no way.
        if (!(error instanceof ConnectError)) throw error;
      }
    }
    return undefined;
  }

  return {
    async route(request) {
      const known = await reach(candidates(request));
      if (known !== undefined || directory.away) return known;
      // The tunnel may be younger than the last reading.
      await directory.refresh().catch(() => undefined);
      return await reach(candidates(request));
    },
    wasWrong(relayId, clusterId) {
      wrong.set(`${relayId} ${clusterId}`, now() + WRONG_MS);
      if (!directory.away) directory.refresh().catch(() => undefined);
    },
  };
}
