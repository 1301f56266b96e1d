import { parseClusterId } from "@cluster-connect/protocol";
import { chooseRelay, type RelayChoice, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { renewAt } from "../tokens/stored-token.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import type { CommandContext } from "./context.ts";

export interface CredentialFlags extends RelayFlags, TokenFlags {
  /** With a port: starts a proxy to this cluster when none runs there. */
  readonly name?: string;
  readonly port?: number;
}

const API_VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/** Prints a token for the cluster's audience, the way kubectl asks for it. */
export async function credential(flags: CredentialFlags, { deps, signal }: CommandContext): Promise<void> {
  const relay = await chooseRelay(flags, deps, { skipSaved: true });
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const { token, expiresAt } = await tokens.token("cluster", { signal });
  if (flags.name !== undefined && flags.port !== undefined)
    await startProxy(flags.name, flags.port, relay, flags, { deps, signal });
  const status =
    expiresAt === undefined ? { token } : { expirationTimestamp: timestamp(renewAt(expiresAt, deps.now())), token };
  const apiVersion = askedVersion(deps.env["KUBERNETES_EXEC_INFO"]);
  deps.stdout.write(`${JSON.stringify({ kind: "ExecCredential", apiVersion, spec: {}, status })}\n`);
}

/** Loaded only for entries that stay: all others have a proxy that runs. */
async function startProxy(
  name: string,
  port: number,
  relay: RelayChoice,
  flags: CredentialFlags,
  { deps, signal }: Pick<CommandContext, "deps" | "signal">,
): Promise<void> {
  const { serve } = await import("../proxies/serve.ts");
  const given = [
    ["--ca-file", relay.caFile],
    ["--token-file", flags.tokenFile],
    ["--relay-token-file", flags.relayTokenFile],
  ] as const;
  const own = given.flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]));
  await serve({ relay: relay.url.origin, cluster: parseClusterId(name), port, flags: own }, { signal }, deps);
}

/** RFC 3339 without fractions, as Kubernetes writes it. */
function timestamp(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/** kubectl says in its environment which version it understands. */
function askedVersion(info: string | undefined): string {
  const [newest = ""] = API_VERSIONS;
  try {
    const asked: unknown = JSON.parse(info ?? "{}");
    const version = typeof asked === "object" && asked !== null && "apiVersion" in asked ? asked.apiVersion : undefined;
    return API_VERSIONS.find((known) => known === version) ?? newest;
  } catch {
    return newest;
  }
}
