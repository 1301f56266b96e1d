export type { FakeClock } from "./fake-clock.ts";
export { createFakeClock } from "./fake-clock.ts";
export type { MemoryChannelOptions, MemoryChannelPair } from "./memory-channel.ts";
export { memoryChannelPair } from "./memory-channel.ts";
export type { IncomingQueue, SessionPair, SessionPairOptions } from "./session-pair.ts";
export { createCountingSecrets, createIncomingQueue, openStream, sessionPair, TEST_OPEN } from "./session-pair.ts";
