import { type Command, Option } from "commander";
import { collect, parseSeconds } from "./arguments.ts";

const DEFAULT_WAIT_SECONDS = 10;

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
    .addOption(new Option("--token <token>", "token for the clusters' audience").hideHelp());
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

/** How long a start waits for hops that are missing. */
export function waitOption(): Option {
  return new Option("--wait <time>", "how long a missing hop is waited for at the start")
    .argParser(parseSeconds)
    .default(DEFAULT_WAIT_SECONDS, `${DEFAULT_WAIT_SECONDS}s`);
}

/** How one thing, not a list, is shown. */
export function textOrJson(): Option {
  return new Option("-o, --output <format>", "how to show it").choices(["text", "json"]).default("text");
}
