import type {
  AgentProof,
  Caller,
  ClusterId,
  CorrelationId,
  ErrorCode,
  GoawayPayload,
  Hello,
  HelloLimits,
  InstanceId,
  Ready,
  Role,
  Secret,
  SessionId,
} from "@cluster-connect/protocol";
import type { Budget } from "../bytes/budget.ts";
import type { HopWindowOptions } from "../hop/hop-window.ts";
import type { KeepaliveOptions } from "../hop/keepalive.ts";
import type { IncomingStream } from "../stream/incoming.ts";
import type { SessionState } from "./state.ts";

/** Options of a session that both sides have. */
export interface SessionOptions {
  /** The kind of this process, for HELLO. */
  readonly role: Role;
  readonly instanceId: InstanceId;
  /** Product and version, for the peer's log. */
  readonly software: string;
  /** Relays: how many of them there are, for HELLO. */
  readonly liveRelays?: number;
  readonly limits?: Partial<HelloLimits>;
  readonly keepalive?: KeepaliveOptions;
  readonly handshakeTimeoutMs?: number;
  readonly hopWindow?: HopWindowOptions;
  /** Memory for this session, and for the process with all its sessions; by default for the session alone. */
  readonly budgets?: SessionBudgets;
  /** Called for each stream the peer opens; without it they are refused. It must answer each, now or later. */
  readonly onStream?: (incoming: IncomingStream) => void;
  /** Agents: how many relays there are under the name that was dialed, when the number changed. */
  readonly onRelays?: (liveRelays: number) => void;
  /** The peer takes no more streams. */
  readonly onGoaway?: (goaway: GoawayPayload) => void;
}

export interface SessionBudgets {
  /** By what receive windows may begin with. */
  readonly initialWindows?: Budget;
  /** By what receive windows may grow. */
  readonly windows?: Budget;
  /** Bytes that may be unread, wait for a turn or be kept for a RESUME. */
  readonly buffers?: Budget;
}

export interface DialOptions extends SessionOptions {
  /** Agents: signs the challenge in the relay's HELLO. A rejection ends the session. */
  readonly prove?: (hello: Hello) => Promise<AgentProof>;
}

export interface AcceptSessionOptions extends SessionOptions {
  /**
   * Judges the dialer; until it resolves, nothing the dialer sends is looked at.
   *
   * @throws ConnectError to refuse: the dialer gets GOAWAY with its code and message.
   */
  readonly authenticate: (hello: Hello, challenge: Secret) => Promise<{ readonly sessionId: SessionId }>;
}

export interface SessionReady extends Ready {
  readonly peer: Hello;
}

/** How a session ended. `code` is undefined for an end without complaint. */
export interface SessionEnd {
  readonly code: ErrorCode | undefined;
  readonly text: string;
  /** The side that ended it: this one, the peer by GOAWAY or close, or the network. */
  readonly by: "local" | "peer" | "network";
  /** The peer's wish, milliseconds; 0 when it has none. */
  readonly retryAfterMs: number;
}

/** An opener's part of OPEN; the session fills in the rest. */
export interface OpenRequest {
  readonly cluster: ClusterId;
  readonly upstream: string;
  readonly correlationId: CorrelationId;
  /** How long this side would keep the stream without a channel; 0 or absent for not at all. */
  readonly graceMs?: number;
  readonly windowBytes?: number;
  readonly key?: Secret;
  readonly caller?: Caller;
  readonly sessionId?: SessionId;
  readonly viaPeer?: boolean;
  readonly traceparent?: string;
}

export interface SessionCounters {
  readonly state: SessionState;
  readonly openStreams: number;
  /** Streams of an earlier session that have gone on in this one. */
  readonly resumedStreams: number;
  /** DATA bytes since the session began. */
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Bytes held for the session's streams. */
  readonly bufferedBytes: number;
  /** DATA bytes that may be in flight on this hop, and that are: those the peer has not acknowledged. */
  readonly hopWindowBytes: number;
  readonly inFlightBytes: number;
  readonly rttMs: number | undefined;
}

export interface GoawayOptions {
  /** Until the channel is closed, milliseconds; 0 for no deadline. */
  readonly deadlineMs?: number;
  readonly code?: ErrorCode;
  readonly text?: string;
  readonly retryAfterMs?: number;
}
