import { SYSTEM_SESSION_DEPS } from "@cluster-connect/framing";
import {
  createHealth,
  createInstanceId,
  createMetrics,
  createShutdown,
  type Environment,
  type Logger,
  type SignalSource,
  SYSTEM_CLOCK,
  startHealthServer,
} from "@cluster-connect/service";
import { type RunningAgent, startAgent } from "./agent.ts";
import type { AgentConfig } from "./config.ts";

/** What the agent needs from its process. */
export interface ServeDeps {
  readonly signals: SignalSource;
  /** Names the HTTP proxies on the way to relays. */
  readonly env: Environment;
  readonly software: string;
  readonly createLog: (ids: Readonly<Record<string, unknown>>) => Logger;
}

/** Time for what is left after the drain's own deadline. */
const CLOSE_MARGIN_MS = 5_000;

/**
 * Runs an agent until it is told to stop.
 *
 * @throws ConnectError when it cannot start, or was refused for good.
 */
export async function serve(config: AgentConfig, deps: ServeDeps): Promise<void> {
  const instanceId = createInstanceId();
  const log = deps.createLog({ instanceId });
  const drainMs = config.drainSeconds * 1_000;
  const health = createHealth();
  const metrics = createMetrics({ service: "agent", process: true });
  const shutdown = createShutdown({ deadlineMs: drainMs + CLOSE_MARGIN_MS }, { signals: deps.signals, log });
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
        ...{ instanceId, software: deps.software, env: deps.env, health, metrics, log },
        ...{ clock: SYSTEM_CLOCK, random: Math.random, sessionDeps: SYSTEM_SESSION_DEPS },
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
    shutdown.add("tunnels", () => agent.close());
    shutdown.add("streams", ({ signal }) => {
      health.drain();
      return agent.drain({ deadlineMs: drainMs, signal });
    });
  }
}
