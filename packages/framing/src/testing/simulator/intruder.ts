import { type ClusterId, decodeEnd, parseInstanceId, parseSecret, type Secret } from "@cluster-connect/protocol";
import type { Frame } from "../../frames/decode.ts";
import { dialSession } from "../../session/session.ts";
import type { StreamMember } from "../../stream/member.ts";
import type { SimulatedRelay } from "./relay.ts";
import type { Stage } from "./stage.ts";

/** A caller that tries to take over streams that are not its own. */
export interface Intruder {
  /** Asks a relay for a stream of an agent: with a key it guessed, or with the right one but as another caller. */
  tryKey(relay: SimulatedRelay, key: Secret | undefined, agent: number): void;
  readonly refusals: number;
  /** Whether anything but a refusal ever came back. */
  readonly got: string | undefined;
}

const NAME = "cli-intruder";
const STAY_MS = 3_000;

export function createIntruder(cluster: ClusterId, stage: Stage): Intruder {
  let refusals = 0;
  let got: string | undefined;

  const member: StreamMember = {
    frame({ type, payload }: Frame) {
      if (type === "REJECT") refusals += 1;
      else if (type !== "RESET") got = type;
      if (type === "REJECT" && decodeEnd(payload).code === "CC_STREAM_FINISHED") got = "how a stream ended";
    },
    fail() {},
    lost() {},
    turn: () => ({ bytes: 0, more: false }),
  };

  async function ask(relay: SimulatedRelay, key: Secret, agent: number): Promise<void> {
    const { dialer } = relay.reach(NAME);
    const hello = { role: "cli", instanceId: parseInstanceId(NAME), software: "simulator" } as const;
    const session = dialSession(dialer, hello, stage.deps);
    stage.clock.setTimer(STAY_MS, () => session.close());
    await session.ready;
    const instanceId = parseInstanceId(`agent-${agent.toString().padStart(2, "0")}`);
    const offsets = { received: 0, consumed: 0, windowBytes: 262_144 };
    const resume = { ...offsets, cluster, instanceId, key, attempt: 1_000, viaPeer: false };
    session.addMember(member, { kind: "resume", resume });
  }

  return {
    tryKey(relay, key, agent) {
      const guess = parseSecret(stage.random.integer(1, 50).toString().padStart(43, "B"));
      // A relay that is down refuses every attempt.
      ask(relay, key ?? guess, agent).catch(() => {});
    },
    get refusals() {
      return refusals;
    },
    get got() {
      return got;
    },
  };
}
