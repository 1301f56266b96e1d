import { instanceIdOf } from "@cluster-connect/auth";
import { type Clock, onAbort } from "@cluster-connect/base";
import {
  createReadMemory,
  createResumeRegistry,
  createSessionBudgets,
  type ResumeRegistry,
  type SessionBudgets,
  type SessionDeps,
} from "@cluster-connect/framing";
import { UPSTREAM_KUBERNETES } from "@cluster-connect/protocol";
import {
  type Environment,
  type Health,
  type Logger,
  type Metrics,
  openTracer,
  readSettingFile,
} from "@cluster-connect/service";
import type { AgentConfig } from "./config.ts";
import { ensureIdentity } from "./identity/enroll.ts";
import { followKey } from "./identity/key-watch.ts";
import { createReenrollment } from "./identity/reenroll.ts";
import type { Identity } from "./identity/state-folder.ts";
import type { AgentInstance } from "./instance/instance.ts";
import { createDispatch } from "./streams/dispatch.ts";
import { createFirstByteWatch } from "./streams/first-byte.ts";
import { createHeldShares } from "./streams/held-shares.ts";
import { probeUpstream } from "./streams/probe.ts";
import { answersQuestion } from "./streams/upstream.ts";
import { createTunnelSet, type TunnelSet } from "./tunnels/tunnel-set.ts";

export interface AgentDeps {
  readonly instance: Pick<AgentInstance, "instanceId" | "follows">;
  /** Product and version. */
  readonly software: string;
  /** Names the HTTP proxies on the way to relays. */
  readonly env: Environment;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  readonly sessionDeps: SessionDeps;
}

export interface RunningAgent {
  /** Settles when every tunnel has ended for good: after {@link close}. */
  readonly done: Promise<void>;
  /** GOAWAY to each relay; resolves when every stream has ended. At the deadline, or when aborted, what is left is reset. */
  drain(options: { readonly deadlineMs: number; readonly signal: AbortSignal }): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts an agent: enrolls it when it is not, then keeps its tunnels up.
 *
 * @param options `signal` gives up while the agent is still enrolling.
 * @throws ConnectError when it cannot be enrolled, see {@link ensureIdentity}.
 */
export async function startAgent(
  config: AgentConfig,
  options: {
    readonly signal: AbortSignal;
    /** How often the key in the state folder is looked at. */
    readonly keyWatch?: { readonly intervalMs: number };
  },
  deps: AgentDeps,
): Promise<RunningAgent> {
  const { caFile } = config.relay;
  const ca = caFile === undefined ? undefined : await readSettingFile("relay.caFile", caFile);
  const identity = await ensureIdentity(config, { ca, signal: options.signal }, deps);
  const log = deps.log.child({ clusterId: identity.clusterId });
  const { limits } = config;
  const maxSuspendedBytes = limits.suspendedMebibytes * MEBIBYTE;
  const resumes = createResumeRegistry({ maxSuspendedBytes }, deps.sessionDeps);
  const bufferBytes = limits.bufferMebibytes * MEBIBYTE;
  const budgets = createSessionBudgets(bufferBytes);
  observeStreams(resumes, budgets, deps.metrics);
  const memory = { clock: deps.clock, readMemory: createReadMemory() };
  const tracer = openTracer(config.tracing, { name: "agent", software: deps.software }, deps);
  const dispatch = createDispatch(
    {
      instanceId: deps.instance.instanceId,
      follows: new Set(deps.instance.follows.map(instanceIdOf)),
      clusterId: identity.clusterId,
      authProxy: config.authProxy.address,
      upstreams: config.upstreams,
      graceMs: config.resumeGraceSeconds * 1_000,
      maxStreams: limits.streams,
    },
    {
      resumes,
      probe: (probeOptions) => probeUpstream(config.authProxy.healthUrl, probeOptions),
      firstByte: createFirstByteWatch({
        clock: deps.clock,
        ask: () => answersQuestion(UPSTREAM_KUBERNETES, config.authProxy.address, memory),
      }),
      heldShares: createHeldShares(bufferBytes, { buffers: budgets.buffers, resumes, clock: deps.clock }),
      readMemory: memory.readMemory,
      log,
      tracer,
    },
  );
  const { instance, software, sessionDeps, env, clock, random } = deps;
  const [stop, quiet] = [new AbortController(), new AbortController()];
  const reenrollment = createReenrollment(config, { ca, signal: stop.signal }, { ...deps, log });
  const onKeyRefused = reenrollment.refused;
  const atStake = (): boolean => resumes.counters.suspended > 0;
  const shared = {
    ca,
    instance,
    software,
    dispatch,
    onKeyRefused,
    atStake,
    budgets,
    log,
    sessionDeps,
    env,
    clock,
    random,
  };
  const create = (by: Identity): TunnelSet => createTunnelSet(config, by, shared);
  const tunnels = { current: create(identity), former: new Set<TunnelSet>() };
  for (const [index, relay] of config.relay.urls.entries()) {
    deps.health.add(`tunnel ${relay.host}`, () => tunnels.current.statuses[index]?.check() ?? NO_TUNNEL);
  }
  const tracing = tracer?.run({ signal: quiet.signal });
  const { stateDir } = config;
  const following = followKey(
    { stateDir, signal: stop.signal, drainMs: config.drainSeconds * 1_000, ...options.keyWatch },
    tunnels,
    { create, log, clock },
  );
  const all = (): readonly TunnelSet[] => [tunnels.current, ...tunnels.former];
  const done = following.then(() => Promise.all(all().map((set) => set.done))).then(() => undefined);
  return {
    done,
    async drain({ deadlineMs, signal }) {
      const due = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]);
      // Nobody else has them: without a word their openers would wait for this agent as long as for one that is lost.
      const reset = (): void => resumes.reset("CC_DRAINING", "The agent that has the stream is stopping");
      const leave = onAbort(due, reset);
      await Promise.all(all().map((set) => set.drain({ deadlineMs: deadlineMs + RESET_MARGIN_MS, signal })));
      leave();
    },
    async close() {
      stop.abort();
      for (const set of all()) set.stop();
      resumes.close();
      await Promise.all([done, reenrollment.idle()]);
      for (const set of all()) set.stop();
      quiet.abort();
      await tracing;
    },
  };
}

const MEBIBYTE = 1_048_576;
/** For the resets to go out before the sessions close. */
const RESET_MARGIN_MS = 1_000;
const NO_TUNNEL = { ok: false, text: "no tunnel" } as const;

function observeStreams(resumes: ResumeRegistry, budgets: Required<SessionBudgets>, metrics: Metrics): void {
  const { buffers } = budgets;
  metrics.observe("buffered_bytes", "Bytes that are held for streams whose reader is slow.", () => buffers.usedBytes);
  metrics.observe("streams", "Streams that could be resumed.", () => resumes.counters.streams);
  metrics.observe("streams_suspended", "Streams without a channel.", () => resumes.counters.suspended);
  metrics.observe("stream_retained_bytes", "Bytes kept to be sent again.", () => resumes.counters.retainedBytes);
}
