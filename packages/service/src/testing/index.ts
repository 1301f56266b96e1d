export type { MemoryLine, MemoryLogger } from "./memory-logger.ts";
export { createMemoryLogger } from "./memory-logger.ts";
