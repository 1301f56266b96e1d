import { join } from "node:path";
import type { CliDeps } from "../../deps.ts";
import { writePrivateFile } from "../../files/private-file.ts";
import type { CredentialCommand } from "../../kubeconfig/entry.ts";
import type { RelayChoice } from "../../relay/choice.ts";
import { readGivenToken } from "../../tokens/given/given-token.ts";
import type { GivenTokens } from "../../tokens/given/token-flags.ts";
import { createTokenEnd } from "../../tokens/token-end.ts";

/**
 * How kubectl gets the caller's token: by starting this program.
 *
 * A token that was given as text, not as a file, is put into a private file in `options.folder`, which the caller removes.
 *
 * @throws ConnectError `CC_TOKEN_INVALID` or `CC_TOKEN_EXPIRED` for a given token that is of no use.
 */
export async function credentialCommand(
  relay: RelayChoice,
  given: GivenTokens,
  options: { readonly folder: string; readonly signal: AbortSignal },
  deps: CliDeps,
): Promise<CredentialCommand> {
  const { cluster, named } = given;
  let tokenFile: string | undefined;
  if (cluster !== undefined) {
    const { token } = await readGivenToken(cluster, options, {
      endOf: createTokenEnd(relay.url, { fetch: deps.fetch, now: deps.now }),
      now: deps.now,
    });
    tokenFile = cluster.kind === "file" ? cluster.path : join(options.folder, "token");
    if (cluster.kind === "text") await writePrivateFile(tokenFile, `${token}\n`);
  }
  return {
    command: deps.self.command,
    args: [
      ...deps.self.args,
      "credential",
      "--relay",
      relay.url.origin,
      ...(relay.caFile === undefined ? [] : ["--ca-file", relay.caFile]),
      ...(tokenFile === undefined ? [] : ["--token-file", tokenFile]),
      // kubectl may be started where the variables are not set.
      ...(named.relayAudience === undefined ? [] : ["--relay-audience", named.relayAudience]),
      ...(named.clusterAudience === undefined ? [] : ["--cluster-audience", named.clusterAudience]),
    ],
    ...ownFolders(deps),
  };
}

/** Variables that decide where logins and proxies are kept. */
const FOLDER_VARIABLES = ["XDG_CONFIG_HOME", "XDG_STATE_HOME"];

function ownFolders({ env }: CliDeps): Pick<CredentialCommand, "env"> {
  const set = FOLDER_VARIABLES.flatMap((name) => {
    const value = env[name];
    return value === undefined || value === "" ? [] : [[name, value] as const];
  });
  return set.length === 0 ? {} : { env: Object.fromEntries(set) };
}
