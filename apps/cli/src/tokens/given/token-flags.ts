import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../../deps.ts";
import { readTextFile } from "../../files/text-file.ts";
import type { NamedLogin } from "../audiences.ts";
import type { GivenToken } from "./given-token.ts";

/** Flags that bring tokens along instead of a login. */
export interface TokenFlags {
  /** On the command line, where other processes can read it: works, and warns. */
  readonly token?: string;
  /** `-` reads it from standard input. */
  readonly tokenFile?: string;
  readonly relayTokenFile?: string;
  readonly relayAudience?: string;
  readonly clusterAudience?: string;
}

/** Tokens that the caller brings along, each for its own audience, and the audiences that they may be asked for. */
export interface GivenTokens {
  readonly named: NamedLogin;
  readonly cluster: GivenToken | undefined;
  readonly relay: GivenToken | undefined;
}

/**
 * Finds given tokens: flags first, then `CLUSTER_CONNECT_TOKEN` and `CLUSTER_CONNECT_RELAY_TOKEN`.
 *
 * @throws ConnectError `CC_USAGE` when two flags contradict each other.
 */
export async function findGivenTokens(flags: TokenFlags, deps: CliDeps): Promise<GivenTokens> {
  if (flags.token !== undefined && flags.tokenFile !== undefined) {
    throw new ConnectError("CC_USAGE", "--token and --token-file exclude each other");
  }
  if (flags.token !== undefined) {
    deps.stderr.write("warning: other processes can read a token on the command line; use --token-file instead\n");
    const cluster = { kind: "text", text: flags.token, where: "--token" } as const;
    return { named: namedLogin(flags, deps), cluster, relay: await relayToken(flags, deps) };
  }
  return {
    named: namedLogin(flags, deps),
    cluster: await clusterToken(flags, deps),
    relay: await relayToken(flags, deps),
  };
}

/** Audiences and issuer that a person named: flags first, then `CLUSTER_CONNECT_*` variables. */
export function namedLogin(
  flags: Pick<TokenFlags, "relayAudience" | "clusterAudience"> & { readonly issuer?: string },
  { env }: Pick<CliDeps, "env">,
): NamedLogin {
  const variable = (name: string): string | undefined => env[`CLUSTER_CONNECT_${name}`] || undefined;
  return {
    relayAudience: flags.relayAudience ?? variable("RELAY_AUDIENCE"),
    clusterAudience: flags.clusterAudience ?? variable("CLUSTER_AUDIENCE"),
    issuer: flags.issuer ?? variable("ISSUER"),
  };
}

async function clusterToken(flags: TokenFlags, deps: CliDeps): Promise<GivenToken | undefined> {
  if (flags.tokenFile === "-") {
    return { kind: "text", text: await deps.stdin.readAll(), where: "the standard input" };
  }
  if (flags.tokenFile !== undefined) return await fromFile(flags.tokenFile);
  return fromEnv("CLUSTER_CONNECT_TOKEN", deps);
}

async function relayToken(flags: TokenFlags, deps: CliDeps): Promise<GivenToken | undefined> {
  if (flags.relayTokenFile !== undefined) return await fromFile(flags.relayTokenFile);
  return fromEnv("CLUSTER_CONNECT_RELAY_TOKEN", deps);
}

/** A pipe, as of `<(command)`, gives what it has once: its text is kept. */
async function fromFile(name: string): Promise<GivenToken> {
  const path = resolve(name);
  const isOnce = await stat(path).then(
    (found) => found.isFIFO() || found.isCharacterDevice() || found.isSocket(),
    () => false,
  );
  return isOnce ? { kind: "text", text: await readTextFile(path), where: path } : { kind: "file", path };
}

function fromEnv(variable: string, deps: CliDeps): GivenToken | undefined {
  const text = deps.env[variable];
  return text === undefined || text === "" ? undefined : { kind: "text", text, where: variable };
}
