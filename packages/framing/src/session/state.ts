import { ConnectError } from "@cluster-connect/protocol";

/** Which end of the channel this is; the dialer opened it. */
export type SessionSide = "dialer" | "acceptor";

/** @see docs/protocol.md#session-states; a session here begins with an open channel. */
export type SessionState = "awaitingHello" | "awaitingReady" | "authenticating" | "open" | "draining" | "closed";

export type SessionEvent = "helloReceived" | "readyReceived" | "readySent" | "goaway" | "closed";

type Table = Readonly<Record<SessionState, Readonly<Partial<Record<SessionEvent, SessionState>>>>>;

const COMMON = {
  open: { goaway: "draining", closed: "closed" },
  draining: { goaway: "draining", closed: "closed" },
  closed: { helloReceived: "closed", readyReceived: "closed", readySent: "closed", goaway: "closed", closed: "closed" },
} as const;

const NEXT: Readonly<Record<SessionSide, Table>> = {
  dialer: {
    awaitingHello: { helloReceived: "awaitingReady", closed: "closed" },
    awaitingReady: { readyReceived: "open", closed: "closed" },
    authenticating: { closed: "closed" },
    ...COMMON,
  },
  acceptor: {
    awaitingHello: { helloReceived: "authenticating", closed: "closed" },
    awaitingReady: { closed: "closed" },
    authenticating: { readySent: "open", closed: "closed" },
    ...COMMON,
  },
};

/** @throws ConnectError `CC_PROTOCOL` when the event is not possible in this state. */
export function nextSessionState(side: SessionSide, state: SessionState, event: SessionEvent): SessionState {
  const next = NEXT[side][state][event];
  if (next === undefined) throw new ConnectError("CC_PROTOCOL", `${event} does not go with a session that is ${state}`);
  return next;
}
