import { type Clock, wait } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import type { Finding } from "./report.ts";

/** A channel on which nothing is to be said for a while. */
export interface IdleChannel {
  /** How often the channel was lost so far. */
  readonly losses: number;
  /** Aborted with the next loss. */
  readonly lost: AbortSignal;
  /** Sends something by way of the channel and resolves when an answer came. */
  ask(options: { readonly signal: AbortSignal }): Promise<void>;
}

const ANSWER_TIMEOUT_MS = 10_000;

/**
 * Says nothing for a while, then asks: something between that cuts idle connections, or forgets them silently, shows.
 *
 * @throws ConnectError `CC_CHANNEL_LOST` with how long it stood.
 */
export async function checkIdle(
  channel: IdleChannel,
  idleMs: number,
  options: { readonly signal: AbortSignal },
  deps: { readonly clock: Clock },
): Promise<Finding<boolean>> {
  const { losses } = channel;
  const startedAt = deps.clock.monotonicNow();
  const either = AbortSignal.any([options.signal, channel.lost]);
  await wait(idleMs, { signal: either }, deps).catch(() => options.signal.throwIfAborted());
  const seconds = (): number => Math.round((deps.clock.monotonicNow() - startedAt) / 1_000);
  if (channel.losses > losses) throw cut(`was cut after ${seconds()} s without traffic`);
  try {
    await channel.ask({ signal: AbortSignal.any([options.signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]) });
  } catch (cause) {
    options.signal.throwIfAborted();
    throw cut(`did not answer any more after ${idleMs / 1_000} s without traffic`, cause);
  }
  if (channel.losses > losses) throw cut(`was gone after ${idleMs / 1_000} s without traffic`);
  return { value: true, detail: `the channel answered after ${idleMs / 1_000} s without traffic of yours` };
}

function cut(what: string, cause?: unknown): ConnectError {
  return new ConnectError("CC_CHANNEL_LOST", `the channel ${what}`, {
    hint: "A proxy or firewall between ends idle connections: have its idle timeout raised to a minute or more.",
    ...(cause === undefined ? {} : { cause }),
  });
}
