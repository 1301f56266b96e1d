import {
  type Caller,
  ConnectError,
  type InstanceId,
  parseInstanceId,
  parseSessionId,
  toConnectError,
} from "@cluster-connect/protocol";
import { forwardStream } from "../../forward/forward.ts";
import type { GoawayOptions } from "../../session/options.ts";
import { acceptSession, dialSession, type Session } from "../../session/session.ts";
import type { IncomingStream, StreamRequest } from "../../stream/incoming.ts";
import type { MemoryChannelPair } from "../memory-channel.ts";
import { keepUp, type Stage } from "./stage.ts";

/** A relay that tells its dialers apart, as the real one does, and hands streams to its peers. */
export interface SimulatedRelay {
  readonly name: InstanceId;
  /** A channel to it. @throws ConnectError while it is down or takes no more. */
  reach(dialer: string): MemoryChannelPair;
  /** Whether a stream could go into a tunnel of this relay, as peers learn from the directory. */
  leads(request: StreamRequest): boolean;
  /** Dials the other relays, for streams whose agent is there. */
  join(peers: readonly SimulatedRelay[]): void;
  /** Gone with every channel, and unreachable for so long. */
  kill(how: "process" | "power", downMs: number): void;
  /** Killed again and again, so long after each start, and back at once each time. */
  flap(times: number, everyMs: number): void;
  /** GOAWAY to every session. */
  goaway(options: GoawayOptions): void;
  /** GOAWAY to every session and no admission; at the deadline the relay is killed and another one started. */
  restart(deadlineMs: number, downMs: number): void;
  sessions(): readonly Session[];
  /** How many streams it has handed to a peer. */
  readonly handedToPeers: number;
}

/** How long a relay that flaps is away each time. */
const FLAP_DOWN_MS = 200;

export function createSimulatedRelay(index: number, stage: Stage): SimulatedRelay {
  const { clock, random, network } = stage;
  const name = parseInstanceId(`relay-0${index}`);
  const tunnels: Session[] = [];
  const accepted = new Set<Session>();
  const peerSessions = new Map<SimulatedRelay, Session>();
  let state: "up" | "draining" | "down" = "up";
  let lives = 0;
  let sessionCount = 0;
  let handed = 0;
  // A relay asks its database for the caller; frames that come meanwhile wait.
  const asksForMs = random.pick([0, 0, 150]);

  function tunnelFor(request: StreamRequest): Session | undefined {
    const open = tunnels.filter((session) => session.state === "open");
    if (request.kind === "open") return open.length > 0 ? random.pick(open) : undefined;
    const holder = (id: InstanceId | undefined): Session | undefined =>
      open.findLast((session) => session.peer?.instanceId === id);
    const { instanceId } = request.resume;
    return holder(instanceId) ?? holder(stage.successors.get(instanceId));
  }

  function peerSessionFor(request: StreamRequest): Session | undefined {
    for (const [peer, session] of peerSessions) {
      // The directory's answer may be old.
      if (session.state === "open" && (peer.leads(request) || random.chance(0.1))) return session;
    }
    return undefined;
  }

  function route(incoming: IncomingStream, from: Session): void {
    const { request } = incoming;
    try {
      const tunnel = tunnelFor(request);
      if (from.peer?.role === "peer") {
        if (tunnel === undefined) throw new ConnectError("CC_PEER_LOOP", "The agent is not here any more");
        forwardStream(incoming, tunnel, rewritten(request, { viaPeer: false }));
        return;
      }
      const peerSession = tunnel === undefined ? peerSessionFor(request) : undefined;
      const next = tunnel ?? peerSession;
      if (next === undefined) throw new ConnectError("CC_AGENT_OFFLINE", "No such agent is connected");
      const caller = callerOf(from);
      forwardStream(incoming, next, rewritten(request, { viaPeer: next === peerSession, caller }));
      if (next === peerSession) handed += 1;
    } catch (error) {
      const { code, message } = toConnectError(error);
      incoming.reject(code, message);
    }
  }

  function accept(channel: MemoryChannelPair): void {
    const session = acceptSession(
      channel.acceptor,
      {
        role: "relay",
        instanceId: name,
        software: "simulator",
        budgets: stage.budgetsOf(name),
        authenticate(hello) {
          if (hello.role === "agent") tunnels.push(session);
          sessionCount += 1;
          return Promise.resolve({ sessionId: parseSessionId(`${name}-${sessionCount}`) });
        },
        onStream(incoming) {
          if (asksForMs === 0) route(incoming, session);
          else clock.setTimer(random.integer(1, asksForMs), () => route(incoming, session));
        },
      },
      stage.deps,
    );
    accepted.add(session);
    void session.closed.then(() => {
      accepted.delete(session);
      network.forget(channel);
      const tunnel = tunnels.indexOf(session);
      if (tunnel >= 0) tunnels.splice(tunnel, 1);
    });
  }

  function downFor(how: "process" | "power", downMs: number): void {
    state = "down";
    lives += 1;
    network.kill(name, how);
    clock.setTimer(downMs, () => {
      state = "up";
    });
  }

  const self: SimulatedRelay = {
    name,
    reach(dialer) {
      if (state !== "up") throw new ConnectError("CC_RELAY_UNREACHABLE", "The relay takes no channels");
      const channel = network.connect(dialer, name);
      accept(channel);
      return channel;
    },
    leads: (request) => state !== "down" && tunnelFor(request) !== undefined,
    join(peers) {
      const hello = { role: "peer", instanceId: name, software: "simulator", budgets: stage.budgetsOf(name) } as const;
      for (const peer of peers) {
        const dial = (): Session => {
          if (state !== "up") throw new ConnectError("CC_RELAY_UNREACHABLE", "This relay is down");
          return dialSession(peer.reach(name).dialer, hello, stage.deps);
        };
        keepUp(stage, dial, { signal: stage.stopped, onReady: (session) => peerSessions.set(peer, session) });
      }
    },
    kill(how, downMs) {
      if (state !== "down") downFor(how, downMs);
    },
    flap(times, everyMs) {
      for (let time = 0; time < times; time += 1)
        clock.setTimer(time * everyMs, () => self.kill("process", FLAP_DOWN_MS));
    },
    goaway(options) {
      for (const session of self.sessions()) session.goaway(options);
    },
    restart(deadlineMs, downMs) {
      if (state !== "up") return;
      state = "draining";
      self.goaway({ deadlineMs, code: "CC_DRAINING", text: "restart" });
      const life = lives;
      clock.setTimer(deadlineMs, () => {
        if (life === lives) downFor("process", downMs);
      });
    },
    sessions: () => [...accepted, ...peerSessions.values()],
    get handedToPeers() {
      return handed;
    },
  };
  return self;
}

function callerOf({ peer }: Session): Caller {
  const subject = peer?.instanceId ?? "nobody";
  return { issuer: "https://issuer.example", subject, username: subject };
}

/** The first frame for the next hop; a peer has written the caller already. */
function rewritten(
  request: StreamRequest,
  change: { readonly viaPeer: boolean; readonly caller?: Caller },
): StreamRequest {
  return request.kind === "open"
    ? { kind: "open", open: { ...request.open, ...change } }
    : { kind: "resume", resume: { ...request.resume, ...change } };
}
