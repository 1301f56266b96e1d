/**
 * Calls back when the signal is aborted, or at once when it is aborted already.
 *
 * @returns calls off what is to be called; a signal that lives long would else collect listeners.
 */
export function onAbort(signal: AbortSignal, call: () => void): () => void {
  if (signal.aborted) {
    call();
    return () => {};
  }
  signal.addEventListener("abort", call, { once: true });
  return () => signal.removeEventListener("abort", call);
}

/** Resolves when the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    onAbort(signal, resolve);
  });
}

/**
 * Waits for `work`, but no longer than until the signal is aborted: for work that takes no signal.
 *
 * @throws the signal's reason, or what `work` throws.
 */
export async function raceAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    work.catch(() => {}); // nobody waits for it
    throw signal.reason;
  }
  const aborted = Promise.withResolvers<never>();
  const leave = onAbort(signal, () => aborted.reject(signal.reason));
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    leave();
  }
}
