import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { checkServerIdentity, type PeerCertificate, type SecureContextOptions, TLSSocket } from "node:tls";
import { createWebSocketAcceptor } from "@cluster-connect/framing/ws";
import { ConnectError, type InstanceId } from "@cluster-connect/protocol";
import { boundRequests, errorFields, listenOn } from "@cluster-connect/service";
import { boundSilentSockets } from "../http/silent-sockets.ts";
import { routeUpgrades, type UpgradeDeps } from "../http/upgrade.ts";
import { createPreAuthLimiter } from "../quota/pre-auth-limiter.ts";
import type { SessionSet } from "../session-set.ts";
import type { PeerFiles } from "./credentials.ts";
import { notePeerRefusal, type PeerSessionDeps, servePeer } from "./serve-peer.ts";
import { hostOf, type PeerCredentials, type PeerSettings } from "./tls.ts";

export interface PeerListenerDeps extends PeerSessionDeps {
  readonly files: Pick<PeerFiles, "current" | "onChange">;
  /** `host:port` of the relay with this id, as the store has it. */
  readonly addressOf: (peerId: InstanceId) => Promise<string | undefined>;
  readonly sessions: SessionSet;
  /** Aborted when no new channel is taken any more. */
  readonly draining: AbortSignal;
  readonly admitSocket: UpgradeDeps["admitSocket"];
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
export async function listenForPeers({ listen }: PeerSettings, deps: PeerListenerDeps): Promise<PeerListener> {
  const server = createServer({
    ...contextOf(deps.files.current),
    ...LIMITS,
    requestCert: true,
    rejectUnauthorized: true,
  });
  deps.files.onChange((credentials) => server.setSecureContext(contextOf(credentials)));
  boundBeforeProof(server, deps);
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
        deps.sessions.add(servePeer(channel, { judge, address: request.socket.remoteAddress }, deps));
      },
    },
    {
      admitSocket: deps.admitSocket,
      log: deps.log,
      onRefused: ({ code }, { socket }) => notePeerRefusal({ code, address: socket.remoteAddress }, deps),
    },
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

/** Relays are few, and each dials another one once: sockets that have shown no certificate yet are places for so many. */
export const UNPROVED_PEERS = { all: 512, perAddress: 128 } as const;

function boundBeforeProof(server: Server, { log, metrics }: Pick<PeerListenerDeps, "log" | "metrics">): void {
  const places = createPreAuthLimiter(UNPROVED_PEERS);
  const quotas = { takeSocket: (address = "unknown", end: () => void) => places.take(address, end) };
  const onRefused = (): void => metrics.refusedUpgrade("CC_LIMIT_REACHED");
  const onFailed = (error: unknown): void =>
    log.error({ event: "socket.failed", ...errorFields(error) }, "a relay's socket could not be bounded, and is ended");
  boundRequests(server, { onRefused, onFailed });
  boundSilentSockets(server, { trustedProxies: [] }, { quotas, onRefused, onFailed });
}

/** A dialer without a relay's certificate is soon gone. */
const LIMITS = { handshakeTimeout: 10_000, headersTimeout: 10_000, requestTimeout: 15_000 } as const;

function contextOf({ cert, key, ca }: PeerCredentials): SecureContextOptions {
  return { cert, key, ca, minVersion: "TLSv1.3" };
}

function certificateOf(socket: unknown): PeerCertificate {
  if (socket instanceof TLSSocket && socket.authorized) return socket.getPeerCertificate();
  throw new ConnectError("CC_PEER_REFUSED", "The channel has no certificate of a relay");
}
