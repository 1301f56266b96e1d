import { type Clock, type Logger, type Metrics, readSettingFile } from "@cluster-connect/service";
import type { StatusFeed } from "./status-feed.ts";
import { createWebhook } from "./webhook.ts";

/** Sends changes of clusters' states to the webhook of the settings, if there is one. */
export interface Notifications {
  run(options: { readonly signal: AbortSignal }): Promise<void>;
}

/** @throws ConnectError `CC_FILE_MISSING` or `CC_FILE_UNREADABLE` for the file with the secret. */
export async function openNotifications(
  settings: { readonly webhook?: { readonly url: string; readonly secretFile: string } | undefined },
  statuses: StatusFeed,
  deps: { readonly clock: Clock; readonly log: Logger; readonly metrics: Metrics; readonly instanceId: string },
): Promise<Notifications> {
  if (settings.webhook === undefined) return { run: () => Promise.resolve() };
  const { url, secretFile } = settings.webhook;
  const secret = (await readSettingFile("webhook.secretFile", secretFile)).trim();
  const results = deps.metrics.counter("webhook_total", "Webhook messages, by result.", ["result"]);
  const webhook = createWebhook(
    { url, secret },
    { ...deps, fetch, random: Math.random, onResult: (result) => results.inc({ result }) },
  );
  return {
    async run({ signal }) {
      const stop = statuses.listen((change) =>
        webhook.push({ event: "cluster.status", relayId: deps.instanceId, ...change }),
      );
      await webhook.run({ signal });
      stop();
    },
  };
}
