import { audiencesOf, type JwtEntry, NO_SYSTEM_NAMES, oneOf, requireNarrowing } from "./jwt-entry.ts";

/** Service connections of Azure Pipelines. */
export interface AzurePipelinesPreset {
  readonly kind: "azure-pipelines";
  /** The organization's id, a GUID. */
  readonly organizationId: string;
  /** `sub` of each service connection: `sc://<organization>/<project>/<connection>`. */
  readonly subjects: readonly string[];
  /** `api://AzureADTokenExchange` unless stated: Pipelines mints no other. */
  readonly audiences?: readonly string[];
}

/** Username `azure-pipelines:` and the subject. */
export function azurePipelines(preset: AzurePipelinesPreset): JwtEntry {
  const rules = oneOf("sub", preset.subjects);
  requireNarrowing(rules, "the subjects of service connections");
  return {
    issuer: {
      url: `https://vstoken.dev.azure.com/${encodeURIComponent(preset.organizationId)}`,
      ...audiencesOf(preset.audiences ?? ["api://AzureADTokenExchange"]),
    },
    claimValidationRules: rules,
    claimMappings: { username: { claim: "sub", prefix: "azure-pipelines:" } },
    userValidationRules: NO_SYSTEM_NAMES,
  };
}
