import { getCACertificates, setDefaultCACertificates } from "node:tls";
import type { EntraClient, EntraDeps } from "@cluster-connect/auth/azure";
import { type FakeEntra, type FakeEntraApp, startFakeEntra } from "@cluster-connect/auth/testing";
import { ConnectError } from "@cluster-connect/protocol";
import { selfSigned } from "@cluster-connect/testkit";
import { onTestFinished } from "vitest";

const CLI_APP = "cccccccc-0000-4000-8000-00000000000c";
export const RELAY_APP = "dddddddd-0000-4000-8000-00000000000d";
export const CLUSTER_APP = "eeeeeeee-0000-4000-8000-00000000000e";
export const NO_END: { readonly signal: AbortSignal } = { signal: new AbortController().signal };

export const DEPS: EntraDeps = {
  unreachable: (host, cause) => new ConnectError("CC_ISSUER_UNREACHABLE", `${host} cannot be reached`, { cause }),
  isTransient: (status) => status === 429 || status >= 500,
};

/** The fake of Entra, trusted by this process, with the given applications beside a public one. */
export async function stage(
  apps: readonly FakeEntraApp[] = [],
  options: { readonly accessTokenSeconds?: number } = {},
): Promise<{ readonly entra: FakeEntra; readonly client: EntraClient }> {
  const tls = await selfSigned({ name: "localhost" });
  const before = getCACertificates("default");
  setDefaultCACertificates([...before, tls.cert]);
  const entra = await startFakeEntra({ tls, apps: [{ clientId: CLI_APP }, ...apps], ...options });
  onTestFinished(async () => {
    await entra.stop();
    setDefaultCACertificates(before);
  });
  return { entra, client: { authorityHost: entra.url, tenantId: entra.tenantId, clientId: CLI_APP } };
}
