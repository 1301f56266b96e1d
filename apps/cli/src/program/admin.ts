import { type Command, InvalidArgumentError, Option } from "commander";
import type { AdminFlags } from "../commands/admin/api.ts";
import type { AdminDecisionFlags, AdminListFlags, AdminShowFlags, RemoveFlags } from "../commands/admin/clusters.ts";
import type { GrantsAddFlags, GrantsCheckFlags } from "../commands/admin/grants.ts";
import type { CodesCreateFlags } from "../commands/admin/keys.ts";
import type { AuditFlags } from "../commands/admin/sessions.ts";
import type { CommandContext } from "../commands/context.ts";
import { OUTPUT_FORMATS } from "../terminal/listing.ts";
import { collect, parseSeconds } from "./arguments.ts";
import { textOrJson, withRelay, withTokens } from "./flags.ts";

/** Where a check says that the answer was no. */
interface ExitCode {
  exitCode: number;
}

const HOUR_SECONDS = 3_600;
/** Of `CC_GRANT_MISSING`, so that scripts may ask. */
const NOT_GRANTED = 41;

/** `admin …`: what administrators do at a relay. */
export function addAdmin(program: Command, context: CommandContext, result: ExitCode): void {
  const admin = program
    .command("admin")
    .description("administer a relay: clusters, codes, keys, grants, sessions and its audit")
    .addHelpText("after", HELP);
  addClusters(admin, context);
  addCodesAndKeys(admin, context);
  addGrants(admin, context, result);
  addSessions(admin, context);
}

const HELP = `
Examples:
  cluster-connect admin codes create -n staging
  cluster-connect admin grants add --selector env=staging --group oidc:developers
  cluster-connect admin grants check -n staging --user oidc:jane@example.com`;

/** A subcommand that talks to a relay. */
function at(group: Command, words: string, description: string): Command {
  return withTokens(withRelay(group.command(words).description(description)));
}

function listed(command: Command): Command {
  return command.addOption(
    new Option("-o, --output <format>", "how to list them").choices([...OUTPUT_FORMATS]).default("table"),
  );
}

function shown(command: Command): Command {
  return command.addOption(textOrJson());
}

function withSubject(command: Command): Command {
  return command
    .option("--fingerprint <sha256>", "of the authority that is meant, compared in the cluster")
    .option("--uid <uid>", "of the cluster that is meant, where two claim one name");
}

function addClusters(admin: Command, context: CommandContext): void {
  const load = () => import("../commands/admin/clusters.ts");
  const group = admin.command("clusters").description("every cluster of the relay");
  listed(at(group, "list", "list clusters, their state and labels")).action(
    async (flags: AdminListFlags) => await (await load()).listClusters(flags, context),
  );
  shown(at(group, "show <cluster>", "show a cluster, its agents, and what waits for a decision")).action(
    async (name: string, flags: AdminShowFlags) => await (await load()).showCluster(name, flags, context),
  );
  withSubject(at(group, "accept <cluster>", "accept an authority that an agent announced, or another cluster")).action(
    async (name: string, flags: AdminDecisionFlags) =>
      await (await load()).decideCluster(name, "accepted", flags, context),
  );
  withSubject(at(group, "refuse <cluster>", "refuse an authority that an agent announced, or another cluster")).action(
    async (name: string, flags: AdminDecisionFlags) =>
      await (await load()).decideCluster(name, "rejected", flags, context),
  );
  at(group, "label <cluster> <labels...>", "set labels (key=value) or take them away (key-)").action(
    async (name: string, labels: readonly string[], flags: AdminFlags) =>
      await (await load()).labelCluster(name, labels, flags, context),
  );
  at(group, "disable <cluster>", "take a cluster out of service; its streams end").action(
    async (name: string, flags: AdminFlags) => await (await load()).switchCluster(name, true, flags, context),
  );
  at(group, "enable <cluster>", "put a cluster into service again").action(
    async (name: string, flags: AdminFlags) => await (await load()).switchCluster(name, false, flags, context),
  );
  at(group, "remove <cluster>", "forget a cluster with its keys and codes; grants that name it stay")
    .option("--force", "also while its agents are connected")
    .action(async (name: string, flags: RemoveFlags) => await (await load()).removeCluster(name, flags, context));
}

function addCodesAndKeys(admin: Command, context: CommandContext): void {
  const load = () => import("../commands/admin/keys.ts");
  const codes = admin.command("codes").description("one-time codes with which agents join");
  listed(at(codes, "list", "list codes by their ids")).action(
    async (flags: AdminListFlags) => await (await load()).listCodes(flags, context),
  );
  shown(at(codes, "create", "make a code and print it"))
    .option("-n, --name <name>", "the cluster that the agent joins as", collect)
    .addOption(new Option("--expires <time>", "how long it counts").argParser(parseSeconds).default(HOUR_SECONDS, "1h"))
    .option("--uses <count>", "how many agents it lets in", parseCount, 1)
    .action(async (flags: CodesCreateFlags) => await (await load()).createCode(flags, context));
  at(codes, "revoke <id>", "make a code worthless").action(
    async (id: string, flags: AdminFlags) => await (await load()).revokeCode(id, flags, context),
  );
  const keys = admin.command("keys").description("keys of agents");
  listed(at(keys, "list", "list keys, revoked ones too")).action(
    async (flags: AdminListFlags) => await (await load()).listKeys(flags, context),
  );
  at(keys, "revoke <id>", "make a key worthless; its tunnels end").action(
    async (id: string, flags: AdminFlags) => await (await load()).revokeKey(id, flags, context),
  );
}

function addGrants(admin: Command, context: CommandContext, result: ExitCode): void {
  const load = () => import("../commands/admin/grants.ts");
  const group = admin.command("grants").description("who may reach which cluster");
  listed(at(group, "list", "list grants of settings, files and those added here")).action(
    async (flags: AdminListFlags) => await (await load()).listGrants(flags, context),
  );
  shown(at(group, "add", "add a grant and print its id"))
    .option("-n, --name <name>", "a cluster, or * for all; may be repeated", collect)
    .option("--selector <labels>", "clusters by label, as in Kubernetes")
    .option("--upstream <name>", "where in them (default: kubernetes, the apiserver); may be repeated", collect)
    .option("--user <name>", "a user as the relay maps names; may be repeated", collect)
    .option("--group <name>", "a group; may be repeated", collect)
    .option("--service-principal <id>", "a program's client id; may be repeated", collect)
    .option("--issuer <url>", "only tokens of this issuer")
    .option("--condition <cel>", "CEL about the token's claims that has to hold")
    .addOption(
      new Option("--expires <time>", "how long it counts (default: until it is removed)").argParser(parseSeconds),
    )
    .action(async (flags: GrantsAddFlags) => await (await load()).addGrant(flags, context));
  at(group, "remove <id>", "remove a grant that was added here").action(
    async (id: string, flags: AdminFlags) => await (await load()).removeGrant(id, flags, context),
  );
  shown(at(group, "check", "say why somebody may or may not reach clusters"))
    .option("-n, --name <name>", "a cluster; may be repeated", collect)
    .option("--upstream <name>", "where in it (default: kubernetes, the apiserver)")
    .requiredOption("--user <name>", "the user as the relay maps names")
    .option("--group <name>", "a group of theirs; may be repeated", collect)
    .option("--issuer <url>", "who signed their token")
    .option("--subject <sub>", "the token's subject")
    .option("--claims-file <path>", "the token's claims as JSON")
    .action(async (flags: GrantsCheckFlags) => {
      if (!(await (await load()).checkGrants(flags, context))) result.exitCode = NOT_GRANTED;
    });
}

function addSessions(admin: Command, context: CommandContext): void {
  const load = () => import("../commands/admin/sessions.ts");
  const group = admin.command("sessions").description("callers' sessions");
  listed(at(group, "list", "list sessions: who, from where, since when")).action(
    async (flags: AdminListFlags) => await (await load()).listSessions(flags, context),
  );
  at(group, "end <id>", "end a session; the caller is told why").action(
    async (id: string, flags: AdminFlags) => await (await load()).endSession(id, flags, context),
  );
  listed(at(admin, "audit", "show the newest entries of the relay's audit"))
    .option("-n, --name <name>", "only about this cluster", collect)
    .option("--event <event>", "only such events")
    .option("--actor <name>", "only what they did")
    .option("--issuer <url>", "only callers with a token of this issuer")
    .option("--subject <sub>", "only callers with this subject in their token")
    .option("--limit <count>", "how many", parseCount, 50)
    .action(async (flags: AuditFlags) => await (await load()).showAudit(flags, context));
}

function parseCount(value: string): number {
  const count = Number(value);
  if (Number.isInteger(count) && count >= 1 && count <= 1_000) return count;
  throw new InvalidArgumentError("A count is a number from 1 to 1000.");
}
