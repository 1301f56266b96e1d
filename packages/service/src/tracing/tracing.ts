/** The parts that a program which is no daemon needs to send spans; nothing here loads a library. */

export { traceContextOf } from "./trace-context.ts";
export type { Span, Tracer } from "./tracer.ts";
export { createTracer } from "./tracer.ts";
