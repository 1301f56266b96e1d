import { type ClusterId, parseClusterId } from "@cluster-connect/protocol";
import type { ClusterTrustFlags } from "../../cluster/trust-sources.ts";
import { askedExecApi, type ExecApiVersion, execApiName } from "../../kubeconfig/exec-api.ts";
import { chooseRelay, type RelayChoice, type RelayFlags } from "../../relay/choice.ts";
import type { Purpose } from "../../tokens/caller-tokens.ts";
import { chooseTokens } from "../../tokens/choose-tokens.ts";
import { findGivenTokens, type TokenFlags } from "../../tokens/given/token-flags.ts";
import { askAgainAt, timestamp } from "../../tokens/stored-token.ts";
import type { CommandContext } from "../context.ts";

export interface CredentialFlags extends RelayFlags, TokenFlags, ClusterTrustFlags {
  /** The cluster that the token is for; with a port, a proxy to it is started when none runs there. */
  readonly name?: string;
  readonly port?: number;
  /** Whose token is printed. */
  readonly audience?: Purpose;
  /** The version of the answer for a client that says none. */
  readonly execApiVersion?: ExecApiVersion;
}

/** Prints a token for the cluster's audience, or the relay's, the way kubectl asks for it. */
export async function credential(flags: CredentialFlags, { deps, signal }: CommandContext): Promise<void> {
  const version = askedExecApi(deps.env["KUBERNETES_EXEC_INFO"], flags.execApiVersion ?? "v1");
  const relay = await chooseRelay(flags, deps, { skipSaved: true });
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const cluster = flags.name === undefined ? undefined : parseClusterId(flags.name);
  const found = await tokens.token(flags.audience ?? "cluster", { signal, cluster });
  const { token, expiresAt } = found;
  if (cluster !== undefined && flags.port !== undefined)
    await startProxy(cluster, flags.port, relay, flags, { deps, signal });
  const status =
    expiresAt === undefined
      ? { token }
      : { expirationTimestamp: timestamp(askAgainAt({ ...found, expiresAt }, deps.now())), token };
  const apiVersion = execApiName(version);
  deps.stdout.write(`${JSON.stringify({ kind: "ExecCredential", apiVersion, spec: {}, status })}\n`);
}

/** Loaded only for entries that stay: all others have a proxy that runs. */
async function startProxy(
  cluster: ClusterId,
  port: number,
  relay: RelayChoice,
  flags: CredentialFlags,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<void> {
  const { ensureProxy } = await import("../../proxies/ensure-running.ts");
  const given = [
    ["--ca-file", relay.caFile],
    ["--token-file", flags.tokenFile],
    ["--relay-token-file", flags.relayTokenFile],
    ["--relay-audience", flags.relayAudience],
    ["--cluster-audience", flags.clusterAudience],
    ["--fleet-key", flags.fleetKey],
    ["--fleet-revocations", flags.fleetRevocations],
    ...(flags.clusterFingerprint ?? []).map((text) => ["--cluster-fingerprint", text] as const),
    ...(flags.clusterCaFile ?? []).map((text) => ["--cluster-ca-file", text] as const),
  ] as const;
  const own = given.flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]));
  await ensureProxy({ relay: relay.url.origin, cluster, port, flags: own }, { signal }, deps);
}
