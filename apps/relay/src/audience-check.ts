import { readFile } from "node:fs/promises";
import { parseAuthenticationConfiguration } from "@cluster-connect/auth";
import { ConnectError, isClusterAudience } from "@cluster-connect/protocol";
import type { RelayConfig } from "./config.ts";

/**
 * Makes sure that no token of this relay counts at a cluster as well: the relay's owner sees those tokens.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` naming the audience.
 */
export async function requireOwnAudiences(
  config: Pick<RelayConfig, "login" | "authenticationConfig" | "allowInsecureLoopbackIssuer">,
): Promise<void> {
  const template = config.login?.audiences.cluster;
  if (template === undefined) return;
  const text = await readFile(config.authenticationConfig, "utf8");
  const { issuers } = parseAuthenticationConfiguration(text, {
    allowInsecureLoopback: config.allowInsecureLoopbackIssuer,
  });
  for (const audience of issuers.flatMap(({ audiences }) => audiences)) requireOwnAudience(config, audience);
}

/** As {@link requireOwnAudiences}, for one audience. */
export function requireOwnAudience({ login }: Pick<RelayConfig, "login">, audience: string): void {
  const template = login?.audiences.cluster;
  if (template === undefined || !isClusterAudience(template, audience)) return;
  const hint =
    "Give the relay an audience of its own, such as its address, in authenticationConfig and login.audiences.relay.";
  const message = `authenticationConfig: the audience ${audience} is the clusters' (login.audiences.cluster)`;
  throw new ConnectError("CC_CONFIG_INVALID", `${message}, so a token for the relay would count there too`, { hint });
}
