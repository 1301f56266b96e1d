import { createSecureContext, type SecureContext } from "node:tls";
import { type Clock, repeat } from "@cluster-connect/base";
import { errorFields, type Logger } from "@cluster-connect/service";
import type { Authority } from "./authority.ts";

/** The certificate that streams are answered with. */
export interface ServingCertificate {
  /** The TLS context for a stream that begins now. */
  readonly context: () => SecureContext;
  readonly notAfter: () => Date;
  /** Issues a new one when two thirds of its life are over or its authority was renewed, until the signal is aborted. */
  keep(options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface ServingOptions {
  readonly hosts: readonly string[];
  readonly seconds: number;
}

const POLL_MS = 1_000;
const RENEW_AT = 2 / 3;

/** Issues a serving certificate and keeps it from expiring. */
export async function createServingCertificate(
  authority: () => Authority,
  options: ServingOptions,
  deps: { readonly clock: Clock; readonly log: Logger },
): Promise<ServingCertificate> {
  const { clock, log } = deps;

  async function issue(): Promise<{ context: SecureContext; renewAt: number; notAfter: Date; by: Authority }> {
    const now = new Date(clock.now());
    const by = authority();
    const { certPem, keyPem, notAfter } = await by.issue(options.hosts, { seconds: options.seconds, now });
    const context = createSecureContext({ cert: certPem, key: keyPem, minVersion: "TLSv1.2" });
    log.info({ event: "certificate.issued", notAfter: notAfter.toISOString() }, "serving certificate issued");
    return { context, renewAt: now.getTime() + (notAfter.getTime() - now.getTime()) * RENEW_AT, notAfter, by };
  }

  let current = await issue();
  return {
    context: () => current.context,
    notAfter: () => current.notAfter,
    keep: ({ signal }) =>
      repeat(
        async () => {
          if (clock.now() < current.renewAt && authority() === current.by) return;
          try {
            current = await issue();
          } catch (error) {
            log.error({ event: "certificate.failed", ...errorFields(error) }, "serving certificate not renewed");
          }
        },
        { intervalMs: POLL_MS, signal },
        { clock },
      ),
  };
}
