import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { type FakeEntra, type FakeEntraApp, startFakeEntra } from "@cluster-connect/auth/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { onTestFinished } from "vitest";
import { createAuthority } from "./certificates.ts";
import { startRelay, type TestRelay } from "./relay.ts";

export const CLI_APP = "cccccccc-0000-4000-8000-00000000000c";
export const RELAY_APP = "dddddddd-0000-4000-8000-00000000000d";
export const CLUSTER_APP = "eeeeeeee-0000-4000-8000-00000000000e";

export interface EntraStage {
  readonly home: string;
  readonly entra: FakeEntra;
  readonly relay: TestRelay;
  /** Variables that name issuer and audiences, as a machine's owner does. */
  readonly named: Readonly<Record<string, string>>;
  /** The fake's certificate authority, for processes of their own; this one trusts it. */
  readonly caFile: string;
}

/** A relay whose callers sign in at the fake of Entra. */
export async function entraStage(
  options: { readonly apps?: readonly FakeEntraApp[]; readonly accessTokenSeconds?: number } = {},
): Promise<EntraStage> {
  const home = await temporaryFolder();
  const authority = await createAuthority();
  const caFile = join(home, "ca.pem");
  await writeFile(caFile, authority.pem);
  const before = getCACertificates("default");
  setDefaultCACertificates([...before, authority.pem]);
  onTestFinished(() => setDefaultCACertificates(before));
  const { apps = [], ...rest } = options;
  const entra = await startFakeEntra({
    tls: await authority.issue("localhost"),
    apps: [{ clientId: CLI_APP }, ...apps],
    ...rest,
  });
  onTestFinished(() => entra.stop());
  const relay = await startRelay();
  relay.login = {
    issuer: entra.issuer,
    clientId: CLI_APP,
    scopes: ["openid", "profile", "offline_access"],
    audiences: { relay: RELAY_APP, cluster: CLUSTER_APP },
    resourceParameter: "scope",
  };
  const named = {
    CLUSTER_CONNECT_ISSUER: entra.issuer,
    CLUSTER_CONNECT_RELAY_AUDIENCE: RELAY_APP,
    CLUSTER_CONNECT_CLUSTER_AUDIENCE: CLUSTER_APP,
  };
  return { home, entra, relay, named, caFile };
}
