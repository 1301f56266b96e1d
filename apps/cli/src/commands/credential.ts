import { chooseRelay, type RelayFlags } from "../settings/relay-choice.ts";
import { chooseTokens } from "../tokens/choose-tokens.ts";
import { renewAt } from "../tokens/stored-token.ts";
import { findGivenTokens, type TokenFlags } from "../tokens/token-flags.ts";
import type { CommandContext } from "./context.ts";

export interface CredentialFlags extends RelayFlags, TokenFlags {}

const API_VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/** Prints a token for the cluster's audience, the way kubectl asks for it. */
export async function credential(flags: CredentialFlags, { deps, signal }: CommandContext): Promise<void> {
  const relay = await chooseRelay(flags, deps, { skipSaved: true });
  const tokens = chooseTokens(relay.url, await findGivenTokens(flags, deps), deps);
  const { token, expiresAt } = await tokens.token("cluster", { signal });
  const status =
    expiresAt === undefined ? { token } : { expirationTimestamp: timestamp(renewAt(expiresAt, deps.now())), token };
  const apiVersion = askedVersion(deps.env["KUBERNETES_EXEC_INFO"]);
  deps.stdout.write(`${JSON.stringify({ kind: "ExecCredential", apiVersion, spec: {}, status })}\n`);
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
