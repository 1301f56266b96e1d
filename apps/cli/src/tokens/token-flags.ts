import { resolve } from "node:path";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import type { GivenToken } from "./given-token.ts";

/** Flags that bring tokens along instead of a login. */
export interface TokenFlags {
  /** On the command line, where other processes can read it: works, and warns. */
  readonly token?: string;
  /** `-` reads it from standard input. */
  readonly tokenFile?: string;
  readonly relayTokenFile?: string;
}

/** Tokens that were given, each for its own audience. */
export interface GivenTokens {
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
    return { cluster: { kind: "text", text: flags.token, where: "--token" }, relay: relayToken(flags, deps) };
  }
  return { cluster: await clusterToken(flags, deps), relay: relayToken(flags, deps) };
}

async function clusterToken(flags: TokenFlags, deps: CliDeps): Promise<GivenToken | undefined> {
  if (flags.tokenFile === "-") {
    return { kind: "text", text: await deps.stdin.readAll(), where: "the standard input" };
  }
  if (flags.tokenFile !== undefined) return { kind: "file", path: resolve(flags.tokenFile) };
  return fromEnv("CLUSTER_CONNECT_TOKEN", deps);
}

function relayToken(flags: TokenFlags, deps: CliDeps): GivenToken | undefined {
  if (flags.relayTokenFile !== undefined) return { kind: "file", path: resolve(flags.relayTokenFile) };
  return fromEnv("CLUSTER_CONNECT_RELAY_TOKEN", deps);
}

function fromEnv(variable: string, deps: CliDeps): GivenToken | undefined {
  const text = deps.env[variable];
  return text === undefined || text === "" ? undefined : { kind: "text", text, where: variable };
}
