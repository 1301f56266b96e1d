import { type DaemonProcess, parseDaemonFlags } from "@cluster-connect/service";
import { publishAuthorities } from "../certificates/publish.ts";
import { refreshAuthority } from "../certificates/renewal.ts";
import { loadProxyConfig } from "../config.ts";

/** `authority --config FILE`: makes the authority or renews it in time, publishes it, and ends. */
export async function runAuthority(argv: readonly string[], deps: DaemonProcess): Promise<void> {
  const { configFile, checkConfig } = parseDaemonFlags(argv);
  const config = await loadProxyConfig({ file: configFile, env: deps.env });
  if (checkConfig) return deps.stderr("The settings are valid.");
  const { done, authority } = await refreshAuthority(
    { stateDir: config.stateDir, clusterId: config.clusterId, seconds: config.certificate.caSeconds },
    new Date(),
  );
  if (config.publishCaPath !== undefined) await publishAuthorities(config.publishCaPath, authority.trustPem);
  deps.stdout(`Authority ${done}: SHA-256 ${authority.fingerprint}, until ${authority.notAfter.toISOString()}`);
}
