import { audiencesOf, EXTRA_DOMAIN, type JwtEntry, NO_SYSTEM_NAMES, oneOf, requireNarrowing } from "./jwt-entry.ts";

/** Jobs of GitLab CI (`id_tokens`). */
export interface GitlabPreset {
  readonly kind: "gitlab";
  readonly audiences: readonly string[];
  readonly projectIds?: readonly string[];
  readonly namespaceIds?: readonly string[];
  /** Branch or tag names. */
  readonly refs?: readonly string[];
  readonly environments?: readonly string[];
  /** Takes jobs of protected branches and tags only; true unless stated. */
  readonly protectedOnly?: boolean;
  /** The instance; gitlab.com unless stated. */
  readonly url?: string;
}

/** Username `gitlab:project:<id>:environment:<name>`, or `…:ref:<type>:<ref>` without an environment. */
export function gitlab(preset: GitlabPreset): JwtEntry {
  const owners = [...oneOf("project_id", preset.projectIds), ...oneOf("namespace_id", preset.namespaceIds)];
  requireNarrowing(owners, "project ids or namespace ids");
  return {
    issuer: { url: preset.url ?? "https://gitlab.com", ...audiencesOf(preset.audiences) },
    claimValidationRules: [
      ...owners,
      ...oneOf("ref", preset.refs),
      ...oneOf("environment", preset.environments),
      ...(preset.protectedOnly === false ? [] : oneOf("ref_protected", ["true"])),
    ],
    claimMappings: {
      username: {
        expression:
          '"gitlab:project:" + claims.project_id + (has(claims.environment) ? ":environment:" + claims.environment : ' +
          '":ref:" + claims.ref_type + ":" + claims.ref)',
      },
      groups: { expression: '["gitlab:namespace:" + claims.namespace_id, "gitlab:project:" + claims.project_id]' },
      extra: [
        { key: `${EXTRA_DOMAIN}/project`, valueExpression: 'claims.?project_path.orValue("")' },
        { key: `${EXTRA_DOMAIN}/actor`, valueExpression: 'claims.?user_login.orValue("")' },
        { key: `${EXTRA_DOMAIN}/run`, valueExpression: 'claims.?job_id.orValue("")' },
      ],
    },
    userValidationRules: NO_SYSTEM_NAMES,
  };
}
