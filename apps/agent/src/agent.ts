import { createResumeRegistry, type ResumeRegistry, type SessionDeps } from "@cluster-connect/framing";
import type { InstanceId } from "@cluster-connect/protocol";
import {
  type Clock,
  type Environment,
  type Health,
  type Logger,
  type Metrics,
  readSettingFile,
} from "@cluster-connect/service";
import { readAuthorities } from "./authorities.ts";
import type { AgentConfig } from "./config.ts";
import { createDispatch } from "./dispatch.ts";
import { ensureIdentity } from "./enroll.ts";
import { probeUpstream } from "./probe.ts";
import { createReached } from "./reached.ts";
import { createTunnelStatus, type TunnelStatus } from "./status.ts";
import { runTunnel } from "./tunnel.ts";

export interface AgentDeps {
  readonly instanceId: InstanceId;
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
  /** GOAWAY to each relay; resolves when every stream has ended, at the latest at the deadline or when aborted. */
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
  options: { readonly signal: AbortSignal },
  deps: AgentDeps,
): Promise<RunningAgent> {
  const { caFile } = config.relay;
  const ca = caFile === undefined ? undefined : await readSettingFile("relay.caFile", caFile);
  const identity = await ensureIdentity(config, { ca, signal: options.signal }, deps);
  const log = deps.log.child({ clusterId: identity.clusterId });
  const resumes = createResumeRegistry({}, deps.sessionDeps);
  observeStreams(resumes, deps.metrics);
  const dispatch = createDispatch(
    {
      instanceId: deps.instanceId,
      authProxy: config.authProxy.address,
      upstreams: config.upstreams,
      graceMs: config.resumeGraceSeconds * 1_000,
    },
    { resumes, probe: (probeOptions) => probeUpstream(config.authProxy.healthUrl, probeOptions), log },
  );
  const stop = new AbortController();
  const draining = new AbortController();
  const statuses: TunnelStatus[] = [];
  const tunnels = config.relay.urls.flatMap((relay) => {
    const status = createTunnelStatus(relay);
    statuses.push(status);
    deps.health.add(`tunnel ${relay.host}`, () => status.check());
    const { instanceId, software, sessionDeps, env } = deps;
    const reached = createReached({ now: deps.clock.now });
    const authorities = (): Promise<string | undefined> => readAuthorities(config.authProxy.authoritiesFile);
    return Array.from({ length: config.relay.tunnels }, () =>
      runTunnel(
        { relay, ca, instanceId, software, identity, draining: draining.signal, signal: stop.signal },
        { dispatch, status, reached, log, sessionDeps, env, authorities },
      ),
    );
  });
  const done = Promise.all(tunnels).then(() => undefined);
  return {
    done,
    async drain(drainOptions) {
      draining.abort();
      const sessions = statuses.flatMap((status) => status.sessions());
      await Promise.all(sessions.map((session) => session.drain(drainOptions)));
    },
    async close() {
      draining.abort();
      stop.abort();
      resumes.close();
      await done;
    },
  };
}

function observeStreams(resumes: ResumeRegistry, metrics: Metrics): void {
  metrics.observe("streams", "Streams that could be resumed.", () => resumes.counters.streams);
  metrics.observe("streams_suspended", "Streams without a channel.", () => resumes.counters.suspended);
  metrics.observe("stream_retained_bytes", "Bytes kept to be sent again.", () => resumes.counters.retainedBytes);
}
