export type { Budget } from "./bytes/budget.ts";
export { createBudget } from "./bytes/budget.ts";
export type { ChannelEnd, ChannelListener, MessageChannel } from "./channel.ts";
export type { Backoff, BackoffOptions } from "./dial/backoff.ts";
export { createBackoff } from "./dial/backoff.ts";
export type { SuperviseDeps, SuperviseOptions } from "./dial/supervise.ts";
export { errorOfEnd, SYSTEM_SUPERVISE_DEPS, supervise } from "./dial/supervise.ts";
export type { WakeDeps, WakeOptions, WakeReason } from "./dial/wake.ts";
export { SYSTEM_WAKE_DEPS, watchWake } from "./dial/wake.ts";
export type { Forward, ForwardEnd, ForwardTarget } from "./forward/forward.ts";
export { forwardStream } from "./forward/forward.ts";
export type { HopWindowOptions } from "./hop/hop-window.ts";
export type { KeepaliveOptions } from "./hop/keepalive.ts";
export type { OpenerOpenOptions, StreamOpener, StreamOpenerDeps, StreamOpenerOptions } from "./resume/opener.ts";
export { createStreamOpener, SYSTEM_STREAM_OPENER_DEPS } from "./resume/opener.ts";
export { callerName } from "./resume/same-caller.ts";
export { suspendedBytesOf } from "./resume/suspended-streams.ts";
export type { ResumeCounters, ResumeRegistry, ResumeRegistryOptions } from "./resume/taker.ts";
export { createResumeRegistry } from "./resume/taker.ts";
export { createSessionBudgets } from "./session/budgets.ts";
export type { SessionDeps } from "./session/deps.ts";
export { createSecret, createSessionDeps } from "./session/deps.ts";
export type {
  AcceptSessionOptions,
  DialOptions,
  GoawayOptions,
  OpenRequest,
  SessionBudgets,
  SessionCounters,
  SessionEnd,
  SessionOptions,
  SessionReady,
} from "./session/options.ts";
export { acceptSession, dialSession, Session } from "./session/session.ts";
export type { SessionState } from "./session/state.ts";
export type { ReadMemory } from "./splice/read-memory.ts";
export { connectSharing, createReadMemory } from "./splice/read-memory.ts";
export type { SpliceEnd, SpliceOptions } from "./splice/splice.ts";
export { splice } from "./splice/splice.ts";
export type { AcceptOptions, StreamRequest } from "./stream/incoming.ts";
export { IncomingStream } from "./stream/incoming.ts";
export type { StreamHost } from "./stream/member.ts";
export type { StreamEnd } from "./stream/mux-stream.ts";
export { MuxStream } from "./stream/mux-stream.ts";
