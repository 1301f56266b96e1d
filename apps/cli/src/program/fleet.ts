import type { Command } from "commander";
import type { SignFlags } from "../commands/cluster/sign.ts";
import type { CommandContext } from "../commands/context.ts";
import type { CreateFleetKeyFlags } from "../commands/fleet/create.ts";
import type { RevokeFlags } from "../commands/fleet/revoke.ts";
import { withRelay, withTokens } from "./flags.ts";

/** `fleet-key create` and `revoke`: the operator's key that says which authorities the clusters have. */
export function addFleetKey(program: Command, context: CommandContext): void {
  const group = program
    .command("fleet-key")
    .description("the operator's key that signs the clusters' authorities, so that nobody has to trust at first use")
    .addHelpText("after", HELP);
  group
    .command("create")
    .description("make a fleet key: the private half into a file, the public one onto standard output")
    .requiredOption("-f, --file <path>", "new file for the private half")
    .action(
      async (flags: CreateFleetKeyFlags) =>
        await (await import("../commands/fleet/create.ts")).createFleetKeyFile(flags, context),
    );
  withRelay(group.command("revoke").description("take a cluster's authority back, in a list that the key signs"))
    .requiredOption("-n, --name <name>", "the cluster")
    .requiredOption("--fleet-key-file <path>", "private half of the fleet key")
    .requiredOption("--list <path>", "the list: a new file, or the list so far")
    .option("--authority <path>", "the authority (default: the one that is trusted here)")
    .action(
      async (flags: RevokeFlags) => await (await import("../commands/fleet/revoke.ts")).revokeAuthority(flags, context),
    );
}

/** `clusters sign`: what `connect --fleet-key-file` does, later. */
export function addSign(clusters: Command, context: CommandContext): void {
  const sign = clusters
    .command("sign")
    .description("sign a cluster's authority with the fleet key, and give the relay the signature");
  withTokens(withRelay(sign))
    .requiredOption("-n, --name <name>", "the cluster")
    .option("--fleet-key-file <path>", "private half of the fleet key")
    .option("--fingerprint <sha256>", "the authority (default: the one that is trusted here)")
    .option("--signature <text>", "made elsewhere, where the key is")
    .action(
      async (flags: SignFlags) => await (await import("../commands/cluster/sign.ts")).signCluster(flags, context),
    );
}

const HELP = `
Examples:
  cluster-connect fleet-key create -f fleet-key.pem
  cluster-connect clusters sign -n staging --fleet-key-file fleet-key.pem
  cluster-connect login --relay https://relay.example.com --fleet-key ccfleet-…
  cluster-connect fleet-key revoke -n staging --fleet-key-file fleet-key.pem --list revoked.json`;
