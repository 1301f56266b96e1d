import { type InstanceId, parseInstanceId } from "@cluster-connect/protocol";
import { createResumeRegistry, type ResumeRegistry } from "../../resume/taker.ts";
import { dialSession, type Session } from "../../session/session.ts";
import type { IncomingStream } from "../../stream/incoming.ts";
import type { MuxStream } from "../../stream/mux-stream.ts";
import type { SimulatedRelay } from "./relay.ts";
import { keepUp, type Stage } from "./stage.ts";

/** One replica of the agent. */
export interface SimulatedAgent {
  readonly instanceId: InstanceId;
  readonly registry: ResumeRegistry;
  readonly alive: boolean;
  /** Gone with every stream that it held. */
  kill(): void;
  /** Takes no more streams, and is gone at the deadline. */
  drain(deadlineMs: number): void;
  sessions(): readonly Session[];
}

export interface SimulatedAgentOptions {
  readonly graceMs: number;
  readonly relays: readonly SimulatedRelay[];
  /** A stream was opened, not resumed. */
  readonly onStream: (stream: MuxStream, incoming: IncomingStream) => void;
}

export function createSimulatedAgent(index: number, options: SimulatedAgentOptions, stage: Stage): SimulatedAgent {
  const { random, clock } = stage;
  const instanceId: InstanceId = parseInstanceId(`agent-${index.toString().padStart(2, "0")}`);
  const registry = createResumeRegistry({}, { clock });
  const life = new AbortController();
  const signal = AbortSignal.any([stage.stopped, life.signal]);
  const sessions = new Set<Session>();
  const hello = {
    role: "agent",
    instanceId,
    software: "simulator",
    budgets: stage.budgetsOf(instanceId),
    onStream(incoming: IncomingStream): void {
      const { request } = incoming;
      if (request.kind === "resume" && stage.successors.get(request.resume.instanceId) === instanceId) {
        incoming.reject("CC_AGENT_REPLACED", "The agent that held the stream was killed");
        return;
      }
      const stream = registry.answer(incoming, { instanceId, graceMs: options.graceMs });
      if (stream !== undefined) options.onStream(stream, incoming);
    },
  } as const;

  function keepTunnel(relay: () => SimulatedRelay): void {
    const dial = (): Session => {
      const session = dialSession(relay().reach(instanceId).dialer, hello, stage.deps);
      sessions.add(session);
      void session.closed.then(() => sessions.delete(session));
      return session;
    };
    keepUp(stage, dial, { signal, atStake: () => registry.counters.suspended > 0 });
  }

  // One tunnel to each relay, or a single one to whichever answers; then streams have to go through two relays.
  if (random.chance(0.4)) for (const relay of options.relays) keepTunnel(() => relay);
  else keepTunnel(() => random.pick(options.relays));

  function kill(): void {
    life.abort();
    registry.close();
  }

  return {
    instanceId,
    registry,
    get alive() {
      return !life.signal.aborted;
    },
    kill,
    drain(deadlineMs) {
      for (const session of sessions) session.goaway({ deadlineMs });
      clock.setTimer(deadlineMs, kill);
    },
    sessions: () => [...sessions],
  };
}
