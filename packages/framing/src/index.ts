export type { Backoff, BackoffOptions } from "./backoff.ts";
export { createBackoff } from "./backoff.ts";
export type { Budget } from "./budget.ts";
export { createBudget } from "./budget.ts";
export type { ChannelEnd, ChannelListener, MessageChannel } from "./channel.ts";
export type { Clock, Timer } from "./clock.ts";
export { SYSTEM_CLOCK, wait } from "./clock.ts";
export type { SessionDeps } from "./deps.ts";
export { SYSTEM_SESSION_DEPS } from "./deps.ts";
export type { Forward, ForwardEnd, ForwardTarget } from "./forward.ts";
export { forwardStream } from "./forward.ts";
export type { HopWindowOptions } from "./hop-window.ts";
export type { AcceptOptions, StreamRequest } from "./incoming.ts";
export { IncomingStream } from "./incoming.ts";
export type { KeepaliveOptions } from "./keepalive.ts";
export type { ResumeCounters, ResumeRegistry, ResumeRegistryOptions } from "./resume-registry.ts";
export { createResumeRegistry } from "./resume-registry.ts";
export { acceptSession, dialSession, Session } from "./session.ts";
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
} from "./session-options.ts";
export type { SessionState } from "./session-state.ts";
export type { SpliceEnd, SpliceOptions } from "./splice.ts";
export { splice } from "./splice.ts";
export type { StreamEnd } from "./stream.ts";
export { MuxStream } from "./stream.ts";
export type { StreamHost } from "./stream-host.ts";
export type { OpenerOpenOptions, StreamOpener, StreamOpenerDeps, StreamOpenerOptions } from "./stream-opener.ts";
export { createStreamOpener, SYSTEM_STREAM_OPENER_DEPS } from "./stream-opener.ts";
export type { SuperviseDeps, SuperviseOptions } from "./supervise.ts";
export { errorOfEnd, SYSTEM_SUPERVISE_DEPS, supervise } from "./supervise.ts";
export type { WakeDeps, WakeOptions, WakeReason } from "./wake.ts";
export { SYSTEM_WAKE_DEPS, watchWake } from "./wake.ts";
