import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { createSessionDeps } from "@cluster-connect/framing";
import {
  createHealth,
  createMetrics,
  createShutdown,
  type Environment,
  type Logger,
  onHangup,
  type SignalSource,
  startHealthServer,
} from "@cluster-connect/service";
import { type RunningAgent, startAgent } from "./agent.ts";
import type { AgentConfig } from "./config.ts";
import { recordInstance } from "./instance/instance.ts";

/** Effects that the agent needs from its process. */
export interface ServeAgentDeps {
  readonly signals: SignalSource;
  /** Names the HTTP proxies on the way to relays. */
  readonly env: Environment;
  readonly software: string;
  readonly createLog: (ids: Readonly<Record<string, unknown>>) => Logger;
  /** Lines of the log that were dropped. */
  readonly droppedLines: () => number;
}

const UNRECORDED_TEXT =
  "no folder to write to (runDir): were this agent killed, its streams' callers would wait for it";
/** Time for what is left after the drain's own deadline. */
const CLOSE_MARGIN_MS = 5_000;

/**
 * Runs an agent until it is told to stop.
 *
 * @throws ConnectError when it cannot start, or was refused for good.
 */
export async function serve(config: AgentConfig, deps: ServeAgentDeps): Promise<void> {
  const graceMs = config.resumeGraceSeconds * 1_000;
  const instance = await recordInstance({ dir: config.runDir ?? config.stateDir, graceMs });
  const { instanceId, follows, unrecorded } = instance;
  const log = deps.createLog({ instanceId });
  if (follows.length > 0)
    log.warn({ event: "agent.follows", killed: follows.length }, "an agent was killed here before");
  if (unrecorded !== undefined) log.info({ event: "agent.unrecorded", reason: unrecorded }, UNRECORDED_TEXT);
  const drainMs = config.drainSeconds * 1_000;
  const health = createHealth();
  const metrics = createMetrics({ service: "agent", process: true, droppedLines: deps.droppedLines });
  const shutdown = createShutdown({ deadlineMs: drainMs + CLOSE_MARGIN_MS }, { signals: deps.signals, log });
  // Its files are read when they are needed, or looked at every few seconds.
  onHangup({ signal: shutdown.stopping }, { signals: deps.signals, log, reload: async () => {} });
  try {
    if (config.health !== undefined) {
      const server = await startHealthServer(config.health, { health, metrics });
      shutdown.add("health", () => server.close());
      log.info({ event: "health.listening", port: server.address.port }, "health listening");
    }
    const agent = await startAgent(
      config,
      { signal: shutdown.stopping },
      {
        instance,
        software: deps.software,
        env: deps.env,
        health,
        metrics,
        log,
        clock: SYSTEM_CLOCK,
        random: Math.random,
        sessionDeps: createSessionDeps(),
      },
    );
    addShutdownSteps(agent);
  } catch (error) {
    const asked = shutdown.stopping.aborted;
    shutdown.begin("start failed");
    await shutdown.done;
    if (!asked) throw error;
  }
  await shutdown.done;

  function addShutdownSteps(agent: RunningAgent): void {
    shutdown.add("record", () => instance.leave());
    shutdown.add("tunnels", () => agent.close());
    shutdown.add("streams", ({ signal }) => {
      health.drain();
      return agent.drain({ deadlineMs: drainMs, signal });
    });
  }
}
