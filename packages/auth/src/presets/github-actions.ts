import { audiencesOf, EXTRA_DOMAIN, type JwtEntry, NO_SYSTEM_NAMES, oneOf, requireNarrowing } from "./jwt-entry.ts";

/** Workflows of GitHub Actions, by ids that no renaming can take over. */
export interface GithubActionsPreset {
  readonly kind: "github-actions";
  readonly audiences: readonly string[];
  readonly repositoryIds?: readonly string[];
  readonly repositoryOwnerIds?: readonly string[];
  /** As `refs/heads/main`. */
  readonly refs?: readonly string[];
  readonly environments?: readonly string[];
  /** The server's own issuer, for GitHub Enterprise Server. */
  readonly url?: string;
}

/** Username `github:repository:<id>:environment:<name>`, or `…:ref:<ref>` without an environment. */
export function githubActions(preset: GithubActionsPreset): JwtEntry {
  const owners = [
    ...oneOf("repository_id", preset.repositoryIds),
    ...oneOf("repository_owner_id", preset.repositoryOwnerIds),
  ];
  requireNarrowing(owners, "repository ids or repository owner ids");
  return {
    issuer: { url: preset.url ?? "https://token.actions.githubusercontent.com", ...audiencesOf(preset.audiences) },
    claimValidationRules: [...owners, ...oneOf("ref", preset.refs), ...oneOf("environment", preset.environments)],
    claimMappings: {
      username: {
        expression:
          '"github:repository:" + claims.repository_id + ' +
          '(has(claims.environment) ? ":environment:" + claims.environment : ":ref:" + claims.ref)',
      },
      groups: {
        expression: '["github:owner:" + claims.repository_owner_id, "github:repository:" + claims.repository_id]',
      },
      extra: [
        { key: `${EXTRA_DOMAIN}/repository`, valueExpression: 'claims.?repository.orValue("")' },
        { key: `${EXTRA_DOMAIN}/actor`, valueExpression: 'claims.?actor.orValue("")' },
        { key: `${EXTRA_DOMAIN}/run`, valueExpression: 'claims.?run_id.orValue("")' },
        { key: `${EXTRA_DOMAIN}/workflow`, valueExpression: 'claims.?workflow_ref.orValue("")' },
      ],
    },
    userValidationRules: NO_SYSTEM_NAMES,
  };
}
