import { ConnectError } from "@cluster-connect/protocol";

/** @see docs/protocol.md#stream-states */
export type StreamState =
  | "pending"
  | "pendingLocalClosed"
  | "pendingRemoteClosed"
  | "open"
  | "localClosed"
  | "localDone"
  | "remoteClosed"
  | "closing"
  | "closed";

export type StreamEvent = "accepted" | "finSent" | "finAcked" | "finConsumed" | "reset";

const NEXT: Readonly<Record<StreamState, Readonly<Partial<Record<StreamEvent, StreamState>>>>> = {
  pending: {
    accepted: "open",
    finSent: "pendingLocalClosed",
    finConsumed: "pendingRemoteClosed",
    reset: "closed",
  },
  pendingLocalClosed: { accepted: "localClosed", reset: "closed" },
  pendingRemoteClosed: { accepted: "remoteClosed", reset: "closed" },
  open: { finSent: "localClosed", finConsumed: "remoteClosed", reset: "closed" },
  localClosed: { finAcked: "localDone", finConsumed: "closing", reset: "closed" },
  localDone: { finConsumed: "closed", reset: "closed" },
  remoteClosed: { finSent: "closing", reset: "closed" },
  closing: { finAcked: "closed", reset: "closed" },
  closed: { accepted: "closed", finSent: "closed", finAcked: "closed", finConsumed: "closed", reset: "closed" },
};

/** @throws ConnectError `CC_STREAM_STATE` when the event is not possible in this state. */
export function nextStreamState(state: StreamState, event: StreamEvent): StreamState {
  const next = NEXT[state][event];
  if (next === undefined)
    throw new ConnectError("CC_STREAM_STATE", `${event} does not go with a stream that is ${state}`);
  return next;
}
