import { type Command, Option } from "commander";
import type { CommandContext } from "../commands/context.ts";
import type { KubeconfigAddFlags } from "../commands/kubeconfig/add.ts";
import type { KubeconfigListFlags } from "../commands/kubeconfig/list.ts";
import type { KubeconfigRemoveFlags } from "../commands/kubeconfig/remove.ts";
import { OUTPUT_FORMATS } from "../terminal/listing.ts";
import { collect, parsePort } from "./arguments.ts";
import { execApiOption, withClusterTrust, withNames, withRelay, withTokens } from "./flags.ts";

/** `kubeconfig add`, `remove` and `list`: entries that need no proxy that runs. */
export function addKubeconfig(program: Command, context: CommandContext): void {
  const group = program
    .command("kubeconfig")
    .description("manage kubeconfig entries that stay: kubectl starts the proxy they need")
    .addHelpText("after", HELP);
  const file = ["-f, --file <path>", "kubeconfig to change (default: as kubectl does)"] as const;
  const add = group.command("add").description("add clusters to the kubeconfig, or bring their entries up to date");
  withClusterTrust(withTokens(withRelay(withNames(add))))
    .option(...file)
    .option("--kube-context <name>", "name of the context (default: the cluster's name)")
    .option("--port <port>", "local port that the entry keeps (default: one is chosen)", parsePort)
    .addOption(execApiOption())
    .addHelpText("after", ADD_HELP)
    .action(
      async (flags: KubeconfigAddFlags) =>
        await (await import("../commands/kubeconfig/add.ts")).addToKubeconfig(flags, context),
    );
  group
    .command("remove")
    .description("take entries out of the kubeconfig, and end the proxies that only they used")
    .option("-n, --name <name>", "the cluster or context; may be repeated", collect)
    .option(...file)
    .option("--all", "remove every entry that was added")
    .addHelpText("after", REMOVE_HELP)
    .action(
      async (flags: KubeconfigRemoveFlags) =>
        await (await import("../commands/kubeconfig/remove.ts")).removeFromKubeconfig(flags, context),
    );
  group
    .command("list")
    .description("list the entries that were added, and whether a proxy runs behind each")
    .addOption(new Option("-o, --output <format>", "how to list them").choices([...OUTPUT_FORMATS]).default("table"))
    .addHelpText("after", LIST_HELP)
    .action(
      async (flags: KubeconfigListFlags) =>
        await (await import("../commands/kubeconfig/list.ts")).listKubeconfig(flags, context),
    );
}

const HELP = `
Examples:
  cluster-connect kubeconfig add -n staging
  kubectl --context staging get pods
  cluster-connect kubeconfig remove -n staging`;

const ADD_HELP = `
Examples:
  cluster-connect kubeconfig add -n staging -n production
  cluster-connect kubeconfig add -n staging --kube-context stage -f ./stage.kubeconfig`;

const REMOVE_HELP = `
Examples:
  cluster-connect kubeconfig remove -n staging
  cluster-connect kubeconfig remove --all`;

const LIST_HELP = `
Examples:
  cluster-connect kubeconfig list
  cluster-connect kubeconfig list -o json`;
