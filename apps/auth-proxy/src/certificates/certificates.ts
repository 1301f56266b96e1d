import type { Clock } from "@cluster-connect/base";
import { parseClusterId, serverNameOf } from "@cluster-connect/protocol";
import type { Logger } from "@cluster-connect/service";
import type { Config } from "../config.ts";
import { publishAuthorities } from "./publish.ts";
import { openAuthority, type RenewingAuthority } from "./renewal.ts";
import { createServingCertificate, type ServingCertificate } from "./serving.ts";

/** The cluster's authority and the certificate it issues for this process. */
export interface Certificates {
  readonly authority: RenewingAuthority;
  readonly serving: ServingCertificate;
  /** Renews both in time, until the signal is aborted. */
  keep(options: { readonly signal: AbortSignal }): Promise<void>;
}

/** Names under which a client on this machine may come, for health checks and trying things out. */
const LOCAL_NAMES = ["localhost", "127.0.0.1", "::1"];

/**
 * Opens the authority, publishes it where that is set, and issues the serving certificate.
 *
 * @throws ConnectError `CC_FILE_UNREADABLE` when the authority cannot be read or made.
 */
export async function openCertificates(
  config: Pick<Config, "stateDir" | "clusterId" | "publishCaPath" | "certificate">,
  deps: { readonly clock: Clock; readonly log: Logger },
): Promise<Certificates> {
  const { stateDir, clusterId, publishCaPath } = config;
  const { caSeconds, servingSeconds } = config.certificate;
  const publish = async (trustPem: string): Promise<void> => {
    if (publishCaPath !== undefined) await publishAuthorities(publishCaPath, trustPem);
  };
  const authority = await openAuthority({ stateDir, clusterId, seconds: caSeconds }, { ...deps, publish });
  const hosts = [serverNameOf(parseClusterId(clusterId)), ...LOCAL_NAMES];
  const serving = await createServingCertificate(authority.current, { hosts, seconds: servingSeconds }, deps);
  return {
    authority,
    serving,
    async keep(options) {
      await Promise.all([authority.keep(options), serving.keep(options)]);
    },
  };
}
