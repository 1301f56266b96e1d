import { createHash } from "node:crypto";
import { SIGNATURE_HEADER, signatureOf } from "../notify/webhook.ts";
import { readSetting, writeSetting } from "../store/queries/settings.ts";
import type { Store } from "../store/store.ts";
import type { AuditSink } from "./sink.ts";

const TIMEOUT_MS = 10_000;

/**
 * An HTTP endpoint that gets `{entries}` by POST, signed as the status webhook is. Relays that share a store share the
 * cursor; two that send at once may both send an entry, which its sequence tells.
 */
export function createWebhookSink(
  options: { readonly url: string; readonly secret: string },
  deps: { readonly store: Store; readonly fetch: typeof fetch; readonly now: () => number },
): AuditSink {
  const { db } = deps.store;
  const name = `audit_webhook_${createHash("sha256").update(options.url).digest("hex").slice(0, 16)}`;
  const move = (sequence: number): Promise<void> => writeSetting(db, name, String(sequence));
  return {
    name: "webhook",
    cursor: async () => Number((await readSetting(db, name)) ?? 0),
    async write(entries) {
      const body = JSON.stringify({
        event: "audit",
        entries: entries.map(({ detail, ...entry }) => ({ ...entry, detail: JSON.parse(detail) })),
      });
      const response = await deps.fetch(options.url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          [SIGNATURE_HEADER]: signatureOf(body, options.secret, deps.now()),
        },
        body,
        redirect: "error",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await response.body?.cancel();
      if (!response.ok) throw new Error(`the endpoint answered with status ${response.status}`);
      await move(entries.at(-1)?.sequence ?? 0);
    },
    skip: move,
  };
}
