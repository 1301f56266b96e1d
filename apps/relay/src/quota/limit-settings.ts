import { MIN_WINDOW_BYTES, RESUME_GRACE_MS } from "@cluster-connect/protocol";
import { z } from "zod";

/** How much of the relay callers, clusters and agents may use. */
export interface LimitSettings {
  readonly sessionsPerCaller: number;
  readonly sessions: number;
  readonly streamsPerCaller: number;
  readonly streamsPerCluster: number;
  readonly streams: number;
  readonly opensPerSecondPerCaller: number;
  /** Streams that go on after their channel was lost. */
  readonly resumesPerSecondPerCaller: number;
  /** Sessions that a caller dials, and lists of clusters that a caller asks for. */
  readonly dialsPerSecondPerCaller: number;
  readonly listsPerSecondPerCaller: number;
  /** Channels whose dialer has not proved anything yet, agents and CLIs together; and sockets without a request. */
  readonly handshakes: number;
  /** Of those, from one address. */
  readonly handshakesPerAddress: number;
  /** Tunnels of agents. */
  readonly agents: number;
  /** New agents' channels per second, from one address half of it; the others are told when to come again. */
  readonly agentsPerSecond: number;
  /** Bytes of streams per second, both directions together, that the relay passes; without a number it does not look. */
  readonly bytesPerSecondPerCaller?: number | undefined;
  readonly bytesPerSecondPerCluster?: number | undefined;
  /** Memory that all sessions together may hold for streams whose reader is slow. */
  readonly bufferMebibytes: number;
}

const count: z.ZodOptional<z.ZodInt> = z.int().min(1).max(10_000_000).optional();

/** Below it a step of credit takes seconds. */
const rate: z.ZodOptional<z.ZodInt> = z.int().min(65_536).max(1_000_000_000_000).optional();

const GIVEN = z.strictObject({
  sessionsPerCaller: count,
  sessions: count,
  streamsPerCaller: count,
  streamsPerCluster: count,
  streams: count,
  opensPerSecondPerCaller: count,
  resumesPerSecondPerCaller: count,
  dialsPerSecondPerCaller: count,
  listsPerSecondPerCaller: count,
  handshakes: count,
  handshakesPerAddress: count,
  agents: count,
  agentsPerSecond: count,
  bytesPerSecondPerCaller: rate,
  bytesPerSecondPerCluster: rate,
  bufferMebibytes: z.int().min(16).max(1_048_576).optional(),
});

type Given = z.output<typeof GIVEN>;

const MEBIBYTE = 1_048_576;
/** Everything that a fault took away is back within this time, with room for the dials and the waits between them. */
const BACK_SECONDS = 10;
/** Agents keep streams for this long where their settings say nothing else. */
const GRACE_SECONDS: number = RESUME_GRACE_MS / 1_000;

interface Bound {
  readonly setting: keyof LimitSettings;
  /** The largest value that the other settings leave room for. */
  readonly most: (limits: LimitSettings) => number;
  /** Names the other setting, and says why. */
  readonly reason: string;
}

/** Sessions and streams that are let in have to find room, and their way back in time after a fault. */
const BOUNDS: readonly Bound[] = [
  { setting: "sessionsPerCaller", most: ({ sessions }) => sessions, reason: "`limits.sessions` is the limit of all" },
  {
    setting: "sessionsPerCaller",
    most: ({ dialsPerSecondPerCaller }) => dialsPerSecondPerCaller * BACK_SECONDS,
    reason: `with \`limits.dialsPerSecondPerCaller\` no more are back ${BACK_SECONDS} s after they were lost`,
  },
  { setting: "streamsPerCaller", most: ({ streams }) => streams, reason: "`limits.streams` is the limit of all" },
  {
    setting: "streamsPerCaller",
    most: ({ resumesPerSecondPerCaller }) => resumesPerSecondPerCaller * BACK_SECONDS,
    reason: `with \`limits.resumesPerSecondPerCaller\` no more go on ${BACK_SECONDS} s after they were lost`,
  },
  { setting: "streamsPerCluster", most: ({ streams }) => streams, reason: "`limits.streams` is the limit of all" },
  {
    setting: "streams",
    most: ({ bufferMebibytes }) => streamsWithin(bufferMebibytes),
    reason: "`limits.bufferMebibytes` has no room for the smallest window of more",
  },
  {
    setting: "handshakesPerAddress",
    most: ({ handshakes }) => handshakes,
    reason: "`limits.handshakes` is all there are",
  },
  {
    setting: "agents",
    most: ({ agentsPerSecond }) => agentsPerSecond * GRACE_SECONDS,
    reason: `with \`limits.agentsPerSecond\` no more are back in the ${GRACE_SECONDS} s that streams are kept`,
  },
];

/** The one table of the relay's limits: those that are not given follow from the others. */
export const LIMIT_SCHEMA: z.ZodType<LimitSettings> = GIVEN.transform((given, context) => {
  const limits = derive(given);
  for (const { setting, most, reason } of BOUNDS) {
    const largest = most(limits);
    if ((limits[setting] ?? 0) <= largest) continue;
    context.addIssue({ code: "custom", path: [setting], message: `expected at most ${largest}: ${reason}` });
  }
  return limits;
}).prefault({});

function derive(given: Given): LimitSettings {
  const { sessions = 20_000, handshakes = 2_000, agentsPerSecond = 200, bufferMebibytes = 1_024 } = given;
  const { dialsPerSecondPerCaller = 50, resumesPerSecondPerCaller } = given;
  const streams = given.streams ?? Math.min(50_000, streamsWithin(bufferMebibytes));
  const resumable = (resumesPerSecondPerCaller ?? streams) * BACK_SECONDS;
  const streamsPerCaller = given.streamsPerCaller ?? Math.min(2_000, streams, resumable);
  return {
    sessionsPerCaller: given.sessionsPerCaller ?? Math.min(100, sessions, dialsPerSecondPerCaller * BACK_SECONDS),
    sessions,
    streamsPerCaller,
    streamsPerCluster: given.streamsPerCluster ?? Math.min(10_000, streams),
    streams,
    opensPerSecondPerCaller: given.opensPerSecondPerCaller ?? 200,
    resumesPerSecondPerCaller: resumesPerSecondPerCaller ?? streamsPerCaller,
    dialsPerSecondPerCaller,
    listsPerSecondPerCaller: given.listsPerSecondPerCaller ?? 50,
    handshakes,
    handshakesPerAddress: given.handshakesPerAddress ?? Math.min(1_000, handshakes),
    agents: given.agents ?? agentsPerSecond * GRACE_SECONDS,
    agentsPerSecond,
    bytesPerSecondPerCaller: given.bytesPerSecondPerCaller,
    bytesPerSecondPerCluster: given.bytesPerSecondPerCluster,
    bufferMebibytes,
  };
}

/** Each stream may hold a smallest window, whatever the others hold. */
function streamsWithin(bufferMebibytes: number): number {
  return Math.floor((bufferMebibytes * MEBIBYTE) / MIN_WINDOW_BYTES);
}
