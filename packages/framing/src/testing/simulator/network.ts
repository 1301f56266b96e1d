import type { Clock } from "@cluster-connect/base";
import type { FrameType } from "@cluster-connect/protocol";
import { type ChannelSide, type MemoryChannelPair, memoryChannelPair } from "../memory-channel.ts";
import type { SeededRandom } from "./random.ts";
import { createWitness } from "./witness.ts";

/** How bad the network is; each seed draws its own. */
export interface Weather {
  readonly maxDelayMs: number;
  /** Messages are cut and joined at random. */
  readonly reshape: boolean;
}

/** Every channel of a world, and the faults that may happen to them. */
export interface Network {
  /** A channel between two processes, by their names. */
  connect(dialer: string, acceptor: string): MemoryChannelPair;
  /** The channel is over at both ends. */
  forget(pair: MemoryChannelPair): void;
  cutOne(): void;
  /** A channel that forwards nothing for so long, both ways or one; its ends are not told. */
  stallOne(forMs: number): void;
  /** A process that is stopped for so long: it reads and says nothing, and nobody is told. */
  freeze(name: string, forMs: number): void;
  /** The next message that has such a frame is the last of its channel, or the first one that is lost with it. */
  trap(type: FrameType, arrives: boolean): void;
  /** A process is gone: with word to every peer it had a channel with, or without. */
  kill(name: string, how: "process" | "power"): void;
  /** The first breach of the protocol that was seen on any channel. */
  readonly breach: string | undefined;
}

interface Wire {
  readonly pair: MemoryChannelPair;
  readonly names: Readonly<Record<ChannelSide, string>>;
}

export function createNetwork(random: SeededRandom, weather: Weather, deps: { readonly clock: Clock }): Network {
  const wires = new Set<Wire>();
  /** Stopped processes, and until when they are. */
  const frozen = new Map<string, number>();
  let traps: Array<{ readonly type: FrameType; readonly arrives: boolean }> = [];
  let breach: string | undefined;

  /** Whether the message arrives, and then whether it is the last one. */
  function caught(types: readonly FrameType[]): "lost" | "last" | undefined {
    const trap = traps.find(({ type }) => types.includes(type));
    if (trap === undefined) return undefined;
    traps = traps.filter((other) => other !== trap);
    return trap.arrives ? "last" : "lost";
  }

  function pickOne(): Wire | undefined {
    return wires.size === 0 ? undefined : random.pick([...wires]);
  }

  function isFrozen({ dialer, acceptor }: Wire["names"]): boolean {
    const now = deps.clock.monotonicNow();
    return [dialer, acceptor].some((name) => (frozen.get(name) ?? 0) > now);
  }

  return {
    connect(dialer, acceptor) {
      const witness = createWitness((what) => {
        breach ??= `${what}, between ${dialer} and ${acceptor} at ${deps.clock.monotonicNow()} ms`;
      });
      const pair = memoryChannelPair(
        {
          delayMs: () => random.integer(0, weather.maxDelayMs),
          reshape(bytes, from) {
            const end = caught(witness.sees(bytes, from));
            if (end === "lost") {
              pair.cut();
              return [];
            }
            if (end === "last") queueMicrotask(() => pair.cut());
            return weather.reshape ? pieces(bytes, random) : [bytes];
          },
        },
        deps,
      );
      const wire = { pair, names: { dialer, acceptor } };
      wires.add(wire);
      if (isFrozen(wire.names)) pair.stall();
      return pair;
    },
    forget(pair) {
      for (const wire of wires) if (wire.pair === pair) wires.delete(wire);
    },
    cutOne() {
      pickOne()?.pair.cut();
    },
    stallOne(forMs) {
      const pair = pickOne()?.pair;
      if (pair === undefined) return;
      const from = random.pick(["dialer", "acceptor", "both"] as const);
      pair.stall(from === "both" ? undefined : from);
      deps.clock.setTimer(forMs, () => pair.unstall());
    },
    freeze(name, forMs) {
      const until = Math.max(frozen.get(name) ?? 0, deps.clock.monotonicNow() + forMs);
      frozen.set(name, until);
      for (const wire of wires) if (isFrozen(wire.names)) wire.pair.stall();
      deps.clock.setTimer(forMs, () => {
        for (const { pair, names } of wires) {
          const isOfThis = names.dialer === name || names.acceptor === name;
          if (isOfThis && !isFrozen(names)) pair.unstall();
        }
      });
    },
    trap(type, arrives) {
      traps.push({ type, arrives });
    },
    kill(name, how) {
      for (const { pair, names } of [...wires]) {
        if (names.dialer !== name && names.acceptor !== name) continue;
        if (how === "power") {
          pair.stall();
          pair[names.dialer === name ? "dialer" : "acceptor"].terminate();
        } else {
          pair.cut();
        }
      }
    },
    get breach() {
      return breach;
    },
  };
}

function pieces(bytes: Uint8Array, random: SeededRandom): Uint8Array[] {
  const found: Uint8Array[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const length = random.chance(0.3) ? random.integer(1, 40) : random.integer(1, 70_000);
    found.push(bytes.subarray(offset, offset + length));
    offset += length;
  }
  return found;
}
