import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";

/**
 * Joins two duplexes for one lifetime: bytes, back-pressure and half-close pass both ways.
 *
 * @returns when both directions have ended.
 * @throws the first error of either side, or the signal's reason; both sides are destroyed by then.
 */
export async function splice(a: Duplex, b: Duplex, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const watch = (from: Duplex, to: Duplex): (() => void) => {
    // A side that goes away after it half-closed ends no pipeline; without this the other side would stay for ever.
    const onClose = (): void => {
      if (!from.readableEnded || !from.writableFinished) to.destroy(from.errored ?? undefined);
    };
    from.once("close", onClose);
    return () => from.removeListener("close", onClose);
  };
  const unwatch = [watch(a, b), watch(b, a)];
  try {
    await Promise.all([pipeline(a, b, { signal }), pipeline(b, a, { signal })]);
  } catch (error) {
    stop.abort();
    a.destroy(error instanceof Error ? error : undefined);
    b.destroy(error instanceof Error ? error : undefined);
    throw error;
  } finally {
    for (const remove of unwatch) remove();
  }
}
