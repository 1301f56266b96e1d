import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { checkServerIdentity, type PeerCertificate, type SecureContextOptions, TLSSocket } from "node:tls";
import { createWebSocketAcceptor } from "@cluster-connect/framing/ws";
import { ConnectError, type InstanceId } from "@cluster-connect/protocol";
import { listenOn } from "@cluster-connect/service";
import type { RelayContext } from "../relay-context.ts";
import type { SessionSet } from "../session-set.ts";
import { routeUpgrades } from "../upgrade.ts";
import type { PeerFiles } from "./credentials.ts";
import { servePeer } from "./peer-sessions.ts";
import { hostOf, type PeerCredentials, type PeerSettings } from "./tls.ts";

export interface PeerListenerDeps {
  readonly files: Pick<PeerFiles, "current" | "onChange">;
  /** `host:port` of the relay with this id, as the store has it. */
  readonly addressOf: (peerId: InstanceId) => Promise<string | undefined>;
  readonly sessions: SessionSet;
  /** Aborted when no new channel is taken any more. */
  readonly draining: AbortSignal;
}

export interface PeerListener {
  readonly address: AddressInfo;
  close(): Promise<void>;
}

/**
 * Listens for the other relays, on a port of its own, with certificates of both sides.
 *
 * @throws ConnectError `CC_PORT_IN_USE`.
 */
export async function listenForPeers(
  { listen }: PeerSettings,
  deps: PeerListenerDeps,
  context: RelayContext,
): Promise<PeerListener> {
  const server = createServer({
    ...contextOf(deps.files.current),
    ...LIMITS,
    requestCert: true,
    rejectUnauthorized: true,
  });
  deps.files.onChange((credentials) => server.setSecureContext(contextOf(credentials)));
  const accept = createWebSocketAcceptor();
  server.on("request", (_request, response) => response.writeHead(404).end());
  routeUpgrades(
    server,
    {
      "/v1/peer": async ({ request, socket, head }) => {
        if (deps.draining.aborted) throw new ConnectError("CC_DRAINING", "The relay is stopping");
        const certificate = certificateOf(socket);
        const channel = await accept(request, socket, head);
        if (channel === undefined) return;
        const judge = async (peerId: InstanceId): Promise<boolean> => {
          const address = await deps.addressOf(peerId);
          return address !== undefined && checkServerIdentity(hostOf(address), certificate) === undefined;
        };
        deps.sessions.add(servePeer(channel, judge, context));
      },
    },
    { log: context.log },
  );
  const address = await listenOn(server, listen);
  return {
    address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Who has no certificate of a relay is soon gone. */
const LIMITS = { handshakeTimeout: 10_000, headersTimeout: 10_000, requestTimeout: 15_000 } as const;

function contextOf({ cert, key, ca }: PeerCredentials): SecureContextOptions {
  return { cert, key, ca, minVersion: "TLSv1.3" };
}

function certificateOf(socket: unknown): PeerCertificate {
  if (socket instanceof TLSSocket && socket.authorized) return socket.getPeerCertificate();
  throw new ConnectError("CC_PEER_REFUSED", "The channel has no certificate of a relay");
}
