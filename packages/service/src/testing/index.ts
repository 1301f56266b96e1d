export type { CollectedSpan, TestCollector } from "./collector.ts";
export { startTestCollector } from "./collector.ts";
export type { MemoryLine, MemoryLogger } from "./memory-logger.ts";
export { createMemoryLogger } from "./memory-logger.ts";
export type { TestPgbouncer } from "./pgbouncer.ts";
export { missingPgbouncer, startTestPgbouncer } from "./pgbouncer.ts";
export type { TestPostgres } from "./postgres.ts";
export { missingPostgres, startTestPostgres } from "./postgres.ts";
export { settingPaths } from "./setting-paths.ts";
