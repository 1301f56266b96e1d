import { type Command, Option } from "commander";
import { EXEC_API_VERSIONS } from "../kubeconfig/exec-api.ts";
import { collect, parseSeconds } from "./arguments.ts";

/** Flags of every command that talks to a relay. */
export function withRelay(command: Command): Command {
  return command
    .option("--relay <url>", "the relay (CLUSTER_CONNECT_RELAY; default: where you logged in)")
    .option("--ca-file <path>", "further certificate authorities to trust (CLUSTER_CONNECT_CA_FILE)")
    .option("-v, --verbose", "say more; -vv also tells each request");
}

/** Flags that bring tokens along instead of a login. */
export function withTokens(command: Command): Command {
  return command
    .option("--token-file <path>", "token for the clusters' audience, - for standard input (CLUSTER_CONNECT_TOKEN)")
    .option("--relay-token-file <path>", "token for the relay's audience (CLUSTER_CONNECT_RELAY_TOKEN)")
    .option("--relay-audience <audience>", "audience of the relay's token (CLUSTER_CONNECT_RELAY_AUDIENCE)")
    .option("--cluster-audience <audience>", "audience of the clusters' token (CLUSTER_CONNECT_CLUSTER_AUDIENCE)")
    .addOption(new Option("--token <token>", "token for the clusters' audience").hideHelp());
}

/** Flags that name a cluster's authority, so that no person has to be asked. */
export function withClusterTrust(command: Command): Command {
  return command
    .option(
      "--cluster-fingerprint <name=sha256>",
      "fingerprint of a cluster's authority (CLUSTER_CONNECT_CLUSTER_FINGERPRINT); may be repeated",
      collect,
    )
    .option(
      "--cluster-ca-file <path>",
      "file with a cluster's authority, or NAME=PATH (CLUSTER_CONNECT_CLUSTER_CA_FILE); may be repeated",
      collect,
    )
    .option("--fleet-key <key>", "key that signs authorities, or a file with it (CLUSTER_CONNECT_FLEET_KEY)")
    .option("--fleet-revocations <path>", "what the fleet key has taken back (CLUSTER_CONNECT_FLEET_REVOCATIONS)");
}

/** Flags that name clusters, in Arc's way. */
export function withNames(command: Command): Command {
  return command
    .option("-n, --name <name>", "the cluster; may be repeated", collect)
    .option(
      "-g, --resource-group <name>",
      "group of the clusters: GROUP--NAME at the relay, where it has such a group",
    );
}

/** How long a start waits for the relay and for hops that are missing. */
export function waitOption(): Option {
  return new Option(
    "--wait <time>",
    "how long the relay and missing hops are waited for at the start (default: 10s, and nothing for the relay)",
  ).argParser(parseSeconds);
}

/** The version of the credential plugin's protocol that entries name, for clients that know an older one only. */
export function execApiOption(): Option {
  return new Option(
    "--exec-api-version <version>",
    "version of the credential plugin's protocol, for clients that do not know v1 (default: v1)",
  ).choices([...EXEC_API_VERSIONS]);
}

/** How one thing, not a list, is shown. */
export function textOrJson(): Option {
  return new Option("-o, --output <format>", "how to show it").choices(["text", "json"]).default("text");
}
