import { dialSession, type Session, type SessionDeps } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import { ConnectError, type InstanceId } from "@cluster-connect/protocol";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { StoredRelay } from "../store/queries/relays.ts";
import type { PeerFiles } from "./credentials.ts";

/** Sessions with the other relays, for the streams that go there. */
export interface PeerSessions {
  /** The session with a relay, dialed when there is none. @throws ConnectError when it cannot be reached. */
  session(relay: StoredRelay): Promise<Session>;
  /** Whether streams can go there at once. */
  isOpen(id: InstanceId): boolean;
  /** Dials the relays that have no session, and ends those that are not in the list. */
  keep(relays: readonly StoredRelay[]): void;
  close(): void;
}

export interface PeerDialDeps {
  readonly instanceId: InstanceId;
  readonly software: string;
  readonly files: Pick<PeerFiles, "current">;
  readonly log: Logger;
  readonly now: () => number;
  readonly sessionDeps: SessionDeps;
}

const DIAL_TIMEOUT_MS = 2_000;
/** After a failed dial, so long no other. */
const PAUSE_MS = 500;
/** Relays are near each other, and every stream of a dead one waits for the news. */
const KEEPALIVE = { busyIntervalMs: 2_000, idleIntervalMs: 2_000, answerTimeoutMs: 1_500 } as const;

interface PeerSession {
  session: Promise<Session>;
  open: boolean;
}

export function createPeerSessions(deps: PeerDialDeps): PeerSessions {
  const sessions = new Map<InstanceId, PeerSession>();
  const failures = new Map<InstanceId, { readonly at: number; readonly error: unknown }>();
  const stop = new AbortController();

  function dial(relay: StoredRelay): Promise<Session> {
    const kept: PeerSession = { session: openPeerSession(relay, stop.signal, deps), open: false };
    sessions.set(relay.id, kept);
    const forget = (): void => {
      if (sessions.get(relay.id) === kept) sessions.delete(relay.id);
    };
    kept.session.then(
      (session) => {
        kept.open = true;
        failures.delete(relay.id);
        deps.log.info({ event: "peer.open", peerId: relay.id, peer: relay.address }, "channel to a peer open");
        void session.draining.then(() => {
          kept.open = false;
          forget();
        });
        void session.closed.then(({ code, by }) =>
          deps.log.info({ event: "peer.closed", peerId: relay.id, code: code ?? "ok", by }, "channel to a peer closed"),
        );
      },
      (error: unknown) => {
        failures.set(relay.id, { at: deps.now(), error });
        forget();
        if (stop.signal.aborted) return;
        deps.log.warn({ event: "peer.failed", peerId: relay.id, ...errorFields(error) }, "a peer cannot be reached");
      },
    );
    return kept.session;
  }

  async function session(relay: StoredRelay): Promise<Session> {
    const found = sessions.get(relay.id);
    if (found !== undefined) return await found.session;
    const failure = failures.get(relay.id);
    if (failure !== undefined && deps.now() < failure.at + PAUSE_MS) throw failure.error;
    return await dial(relay);
  }

  return {
    session,
    isOpen: (id) => sessions.get(id)?.open === true,
    keep(relays) {
      const wanted = new Set(relays.map(({ id }) => id));
      for (const relay of relays) if (!relay.draining) session(relay).catch(() => undefined);
      for (const id of failures.keys()) if (!wanted.has(id)) failures.delete(id);
      for (const [id, kept] of sessions) {
        if (!wanted.has(id) && kept.open) kept.session.then((old) => old.goaway({})).catch(() => undefined);
      }
    },
    close() {
      stop.abort();
      for (const kept of sessions.values()) kept.session.then((session) => session.close()).catch(() => undefined);
    },
  };
}

async function openPeerSession(relay: StoredRelay, stop: AbortSignal, deps: PeerDialDeps): Promise<Session> {
  const { instanceId, software, files } = deps;
  const url = new URL("/v1/peer", `https://${relay.address}`);
  const signal = AbortSignal.any([stop, AbortSignal.timeout(DIAL_TIMEOUT_MS)]);
  const channel = await dialWebSocket(url, { signal, tls: files.current, timeoutMs: DIAL_TIMEOUT_MS });
  const session = dialSession(
    channel,
    { role: "peer", instanceId, software, keepalive: KEEPALIVE, handshakeTimeoutMs: DIAL_TIMEOUT_MS },
    deps.sessionDeps,
  );
  const { peer } = await session.ready;
  if (peer.instanceId === relay.id) return session;
  session.close();
  // Another process took the address over; the row of the former one ends with its lease.
  throw new ConnectError("CC_RELAY_REFUSED", `${relay.address} is another relay than the one looked for`);
}
