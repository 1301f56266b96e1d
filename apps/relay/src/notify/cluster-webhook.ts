import type { Clock } from "@cluster-connect/base";
import type { InstanceId } from "@cluster-connect/protocol";
import { errorFields, type Logger, type Metrics } from "@cluster-connect/service";
import { type ClusterStatus, dropDelivery, type Teller, takeDeliveries } from "../store/queries/cluster-status.ts";
import type { Store } from "../store/store.ts";
import { readSigningSecret } from "./secret.ts";
import { createWebhook } from "./webhook.ts";

/** Sends changes of clusters' status to the webhook of the settings, if there is one. */
export interface Notifications {
  /** The message for a change, kept in the store until it was taken; undefined without a webhook. */
  readonly teller: Teller;
  /** There may be messages to send: of this relay, or of one that is gone. */
  poll(): void;
  run(options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface NotificationsDeps {
  readonly store: Store;
  readonly instanceId: InstanceId;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` for the file with the secret. */
export async function openNotifications(
  settings: { readonly webhook?: { readonly url: string; readonly secretFile: string } | undefined },
  deps: NotificationsDeps,
): Promise<Notifications> {
  if (settings.webhook === undefined) {
    return { teller: undefined, poll: () => undefined, run: () => Promise.resolve() };
  }
  const { store, instanceId, log } = deps;
  const { url, secretFile } = settings.webhook;
  const secret = await readSigningSecret("webhook.secretFile", secretFile);
  const results = deps.metrics.counter("webhook_total", "Webhook messages, by result.", ["result"]);
  const failed = (error: unknown): void =>
    log.error({ event: "webhook.store.failed", ...errorFields(error) }, "messages of the webhook wait for the store");
  /** Messages that were taken while the store was read: the reading may still have them. */
  const overMeanwhile = new Set<string>();
  const webhook = createWebhook(
    { url, secret },
    {
      ...deps,
      fetch,
      random: Math.random,
      onResult: (result) => results.inc({ result }),
      // A row that stays is sent once more: the endpoint tells by its id.
      onOver: async (id) => {
        overMeanwhile.add(id);
        await dropDelivery(store.db, id).catch(failed);
      },
    },
  );
  const fill = async (): Promise<void> => {
    overMeanwhile.clear();
    for (const delivery of await takeDeliveries(store, instanceId)) {
      if (!overMeanwhile.has(delivery.id)) webhook.push(delivery);
    }
  };
  let filling: Promise<void> = Promise.resolve();
  return {
    teller: (change: ClusterStatus) => ({ event: "cluster.status", relayId: instanceId, ...change }),
    poll() {
      filling = filling.then(fill).catch(failed);
    },
    async run(options) {
      await webhook.run(options);
      await filling;
    },
  };
}
