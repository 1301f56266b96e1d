import { createHmac } from "node:crypto";
import { type Clock, isTransientStatus, onAbort, wait } from "@cluster-connect/base";
import { errorFields, type Logger } from "@cluster-connect/service";

/** Hands messages to an operator's HTTP endpoint, in order, each until it was taken or given up. */
export interface Webhook {
  /** Never waits; a message that waits already is not taken twice, and when the queue is full the oldest is dropped. */
  push(message: WebhookMessage): void;
  /** Sends until the signal is aborted. */
  run(options: { readonly signal: AbortSignal }): Promise<void>;
  readonly queued: number;
}

/** A message; each attempt sends the same id. */
export interface WebhookMessage {
  readonly id: string;
  /** JSON. */
  readonly body: string;
}

export interface WebhookOptions {
  readonly url: string;
  /** Signs each message, so that the endpoint knows its sender. */
  readonly secret: string;
}

export interface WebhookDeps {
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly onResult?: (result: "sent" | "retried" | "failed" | "dropped") => void;
  /** The message was taken, given up or dropped. */
  readonly onOver?: (id: string) => Promise<void> | void;
}

const MAX_QUEUED = 1_000;
const MAX_ATTEMPTS = 10;
/** Attempts of a message that the endpoint refuses by a status that does not pass by itself: others wait behind it. */
const MAX_REFUSALS = 3;
const TIMEOUT_MS = 10_000;
const BASE_DELAY_MS = 500;
const MAX_DELAY_MS = 60_000;

/** Name of the header: `t=<unix seconds>,v1=<hex HMAC-SHA-256 of "<t>.<body>">`. */
export const SIGNATURE_HEADER = "cluster-connect-signature";

/** Name of the header with the message's id, by which a message that comes again is told. */
export const DELIVERY_HEADER = "cluster-connect-delivery";

export function createWebhook(options: WebhookOptions, deps: WebhookDeps): Webhook {
  const queue: WebhookMessage[] = [];
  /** The one that is being sent, those that wait, and those whose end is being noted. */
  const ids = new Set<string>();
  const over = async (id: string): Promise<void> => {
    await deps.onOver?.(id);
    ids.delete(id);
  };
  let wake: (() => void) | undefined;
  return {
    get queued() {
      return queue.length;
    },
    push(message) {
      if (ids.has(message.id)) return;
      const oldest = queue.length >= MAX_QUEUED ? queue.shift() : undefined;
      if (oldest !== undefined) {
        deps.onResult?.("dropped");
        void over(oldest.id);
      }
      ids.add(message.id);
      queue.push(message);
      wake?.();
    },
    async run({ signal }) {
      while (!signal.aborted) {
        const message = queue.shift();
        if (message !== undefined) {
          await deliver(message, options, signal, deps);
          // Another relay sends the message that the end of this process cut short.
          if (!signal.aborted) await over(message.id);
          continue;
        }
        const waiting = Promise.withResolvers<void>();
        wake = waiting.resolve;
        const leave = onAbort(signal, wake);
        await waiting.promise;
        leave();
      }
    },
  };
}

/** Full jitter between attempts; a message that is not taken is given up, so that others get their turn. */
async function deliver(
  message: WebhookMessage,
  options: WebhookOptions,
  signal: AbortSignal,
  deps: WebhookDeps,
): Promise<void> {
  let refusals = 0;
  let attempt = 0;
  while (attempt < MAX_ATTEMPTS && refusals < MAX_REFUSALS && !signal.aborted) {
    attempt += 1;
    try {
      await post(message, options, signal, deps);
      deps.onResult?.("sent");
      return;
    } catch (error) {
      if (signal.aborted) return;
      deps.onResult?.("retried");
      deps.log.warn({ event: "webhook.retry", attempt, ...errorFields(error) }, "webhook not taken");
      if (error instanceof Refusal) refusals += 1;
      const delayMs = deps.random() * Math.min(MAX_DELAY_MS, BASE_DELAY_MS * 2 ** (attempt - 1));
      await wait(delayMs, { signal }, deps).catch(() => undefined);
    }
  }
  if (signal.aborted) return;
  deps.onResult?.("failed");
  deps.log.error({ event: "webhook.failed", attempts: attempt }, "webhook message given up");
}

/** An answer that the same message gets again. */
class Refusal extends Error {}

async function post(
  { id, body }: WebhookMessage,
  options: WebhookOptions,
  signal: AbortSignal,
  deps: WebhookDeps,
): Promise<void> {
  const response = await deps.fetch(options.url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      [DELIVERY_HEADER]: id,
      [SIGNATURE_HEADER]: signatureOf(body, options.secret, deps.clock.now()),
    },
    body,
    redirect: "error",
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  await response.body?.cancel();
  if (response.ok) return;
  const text = `the endpoint answered with status ${response.status}`;
  throw isTransientStatus(response.status) ? new Error(text) : new Refusal(text);
}

/** The value of {@link SIGNATURE_HEADER}. */
export function signatureOf(body: string, secret: string, nowMs: number): string {
  const seconds = Math.floor(nowMs / 1_000);
  return `t=${seconds},v1=${createHmac("sha256", secret).update(`${seconds}.${body}`).digest("hex")}`;
}
