import type { Preset } from "@cluster-connect/auth";
import { type Command, Option } from "commander";
import type { IssuersFlags } from "../commands/connect/issuers.ts";
import type { CommandContext } from "../commands/context.ts";
import { readTextFile } from "../files/text-file.ts";
import { collect } from "./arguments.ts";

type Repeated = readonly string[];

/** `issuers …`: writes the file that says whose tokens a relay or an auth proxy takes. */
export function addIssuers(program: Command, context: CommandContext): void {
  const group = program
    .command("issuers")
    .description("write the file of issuers that a relay or an auth proxy trusts (AuthenticationConfiguration)")
    .addHelpText("after", HELP);
  const write = async (preset: Preset, flags: IssuersFlags): Promise<void> =>
    await (await import("../commands/connect/issuers.ts")).writeIssuers(preset, flags, context);
  addEntra(group, write);
  addGithubActions(group, write);
  addGitlab(group, write);
  addAzurePipelines(group, write);
  addOidc(group, write);
}

type Write = (preset: Preset, flags: IssuersFlags) => Promise<void>;

function preset(group: Command, name: string, description: string): Command {
  return group
    .command(name)
    .description(description)
    .option("-f, --file <path>", "add the issuer to this file, or create it (default: print a new file)");
}

function withAudience(command: Command): Command {
  return command.requiredOption("--audience <audience>", "audience of the tokens; may be repeated", collect);
}

function addEntra(group: Command, write: Write): void {
  const command = preset(group, "entra", "Microsoft Entra ID: people by object id, and apps where they are allowed");
  withAudience(command)
    .requiredOption("--tenant <id>", "tenant that may sign in; may be repeated", collect)
    .addOption(new Option("--token-version <version>", "version of its tokens").choices(["1", "2"]).default("2"))
    .option("--prefix <text>", "before user names and groups (default: entra:)")
    .option("--allow-apps", "take tokens of apps without a user too")
    .action(async (flags: EntraIssuerFlags) => {
      const { tenant: tenantIds, audience: audiences, prefix } = flags;
      const version = flags.tokenVersion === "1" ? 1 : 2;
      const apps = flags.allowApps === true ? "allow" : "refuse";
      await write(
        { kind: "entra", tenantIds, audiences, version, apps, ...(prefix === undefined ? {} : { prefix }) },
        flags,
      );
    });
}

interface EntraIssuerFlags extends IssuersFlags {
  readonly tenant: Repeated;
  readonly audience: Repeated;
  readonly tokenVersion: string;
  readonly prefix?: string;
  readonly allowApps?: boolean;
}

function addGithubActions(group: Command, write: Write): void {
  const command = preset(group, "github-actions", "workflows of GitHub Actions, by ids that no renaming takes over");
  withAudience(command)
    .option("--repository-id <id>", "repository whose workflows are taken; may be repeated", collect)
    .option("--owner-id <id>", "owner (user or organization) of the repositories; may be repeated", collect)
    .option("--ref <ref>", "as refs/heads/main; may be repeated", collect)
    .option("--environment <name>", "deployment environment; may be repeated", collect)
    .option("--url <url>", "the issuer of a GitHub Enterprise Server")
    .action(async (flags: GithubFlags) => {
      const { audience: audiences, url } = flags;
      await write(
        {
          kind: "github-actions",
          audiences,
          repositoryIds: flags.repositoryId ?? [],
          repositoryOwnerIds: flags.ownerId ?? [],
          refs: flags.ref ?? [],
          environments: flags.environment ?? [],
          ...(url === undefined ? {} : { url }),
        },
        flags,
      );
    });
}

interface GithubFlags extends IssuersFlags {
  readonly audience: Repeated;
  readonly repositoryId?: Repeated;
  readonly ownerId?: Repeated;
  readonly ref?: Repeated;
  readonly environment?: Repeated;
  readonly url?: string;
}

function addGitlab(group: Command, write: Write): void {
  const command = preset(group, "gitlab", "jobs of GitLab CI (id_tokens)");
  withAudience(command)
    .option("--project-id <id>", "project whose jobs are taken; may be repeated", collect)
    .option("--namespace-id <id>", "group of the projects; may be repeated", collect)
    .option("--ref <name>", "branch or tag; may be repeated", collect)
    .option("--environment <name>", "deployment environment; may be repeated", collect)
    .option("--allow-unprotected", "take jobs of unprotected branches and tags too")
    .option("--url <url>", "the instance (default: https://gitlab.com)")
    .action(async (flags: GitlabFlags) => {
      const { audience: audiences, url } = flags;
      await write(
        {
          kind: "gitlab",
          audiences,
          projectIds: flags.projectId ?? [],
          namespaceIds: flags.namespaceId ?? [],
          refs: flags.ref ?? [],
          environments: flags.environment ?? [],
          protectedOnly: flags.allowUnprotected !== true,
          ...(url === undefined ? {} : { url }),
        },
        flags,
      );
    });
}

interface GitlabFlags extends IssuersFlags {
  readonly audience: Repeated;
  readonly projectId?: Repeated;
  readonly namespaceId?: Repeated;
  readonly ref?: Repeated;
  readonly environment?: Repeated;
  readonly allowUnprotected?: boolean;
  readonly url?: string;
}

function addAzurePipelines(group: Command, write: Write): void {
  preset(group, "azure-pipelines", "service connections of Azure Pipelines")
    .requiredOption("--organization-id <id>", "the organization's id, a GUID")
    .requiredOption("--subject <subject>", "sc://ORGANIZATION/PROJECT/CONNECTION; may be repeated", collect)
    .option("--audience <audience>", "audience of the tokens (default: api://AzureADTokenExchange)", collect)
    .action(async (flags: PipelinesFlags) => {
      const { organizationId, subject: subjects, audience: audiences } = flags;
      const given = audiences === undefined ? {} : { audiences };
      await write({ kind: "azure-pipelines", organizationId, subjects, ...given }, flags);
    });
}

interface PipelinesFlags extends IssuersFlags {
  readonly organizationId: string;
  readonly subject: Repeated;
  readonly audience?: Repeated;
}

function addOidc(group: Command, write: Write): void {
  withAudience(preset(group, "oidc", "any other issuer of OpenID Connect"))
    .requiredOption("--url <url>", "the issuer")
    .option("--username-claim <claim>", "claim that names the user (default: sub)")
    .option("--username-prefix <text>", "before user names (default: the issuer's URL and #)")
    .option("--groups-claim <claim>", "claim that lists the groups (default: no groups)")
    .option("--groups-prefix <text>", "before groups (default: as for user names)")
    .option("--issuer-ca-file <path>", "certificate authority (PEM) of the issuer")
    .action(async (flags: OidcFlags) => {
      const {
        url,
        audience: audiences,
        usernameClaim,
        usernamePrefix,
        groupsClaim,
        groupsPrefix,
        issuerCaFile,
      } = flags;
      const certificateAuthority = issuerCaFile === undefined ? undefined : await readTextFile(issuerCaFile);
      await write(
        {
          kind: "oidc",
          url,
          audiences,
          ...(usernameClaim === undefined ? {} : { usernameClaim }),
          ...(usernamePrefix === undefined ? {} : { usernamePrefix }),
          ...(groupsClaim === undefined ? {} : { groupsClaim }),
          ...(groupsPrefix === undefined ? {} : { groupsPrefix }),
          ...(certificateAuthority === undefined ? {} : { certificateAuthority }),
        },
        flags,
      );
    });
}

interface OidcFlags extends IssuersFlags {
  readonly url: string;
  readonly audience: Repeated;
  readonly usernameClaim?: string;
  readonly usernamePrefix?: string;
  readonly groupsClaim?: string;
  readonly groupsPrefix?: string;
  readonly issuerCaFile?: string;
}

const HELP = `
Relay and auth proxy take different audiences, so each gets a file of its own. In the auth proxies' {cluster} stands for
the cluster's name: one file serves all of them, and a token for one is refused by the others.

Examples:
  cluster-connect issuers entra --tenant 72f988bf-86f1-41af-91ab-2d7cd011db47 --audience 00000000-aaaa-bbbb-cccc-000000000001
  cluster-connect issuers github-actions --audience 'https://k8s.example.com/{cluster}' --repository-id 42 -f issuers.yaml
  cluster-connect issuers oidc --url https://id.example.com --audience 'https://k8s.example.com/{cluster}' --groups-claim groups`;
