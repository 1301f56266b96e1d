import { z } from "zod";

/** How much of the relay somebody may use. */
export interface LimitSettings {
  readonly sessionsPerCaller: number;
  readonly sessions: number;
  readonly streamsPerCaller: number;
  readonly streamsPerCluster: number;
  readonly streams: number;
  readonly opensPerSecondPerCaller: number;
  /** Channels whose dialer has not proved anything yet, agents and CLIs together; and sockets without a request. */
  readonly handshakes: number;
  /** Of those, from one address. */
  readonly handshakesPerAddress: number;
  /** New agents' channels per second, from one address half of it; the others are told when to come again. */
  readonly agentsPerSecond: number;
  /** Bytes of streams per second, both directions together, that the relay passes; without a number it does not look. */
  readonly bytesPerSecondPerCaller?: number | undefined;
  readonly bytesPerSecondPerCluster?: number | undefined;
  /** What all sessions together may hold for streams whose reader is slow. */
  readonly bufferMebibytes: number;
}

const count = (fallback: number): z.ZodDefault<z.ZodInt> => z.int().min(1).max(10_000_000).default(fallback);

/** Below it a step of credit takes seconds. */
const rate = z.int().min(65_536).max(1_000_000_000_000);

export const LIMIT_SCHEMA: z.ZodType<LimitSettings> = z
  .strictObject({
    sessionsPerCaller: count(100),
    sessions: count(20_000),
    streamsPerCaller: count(2_000),
    streamsPerCluster: count(10_000),
    streams: count(50_000),
    opensPerSecondPerCaller: count(200),
    handshakes: count(2_000),
    handshakesPerAddress: count(1_000),
    agentsPerSecond: count(200),
    bytesPerSecondPerCaller: rate.optional(),
    bytesPerSecondPerCluster: rate.optional(),
    bufferMebibytes: z.int().min(16).max(1_048_576).default(1_024),
  })
  .prefault({});
