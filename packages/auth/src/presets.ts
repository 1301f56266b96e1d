import { ConnectError } from "@cluster-connect/protocol";
import { stringify } from "yaml";
import { parseAuthenticationConfiguration } from "./authentication-config.ts";
import { type AzurePipelinesPreset, azurePipelines } from "./presets/azure-pipelines.ts";
import { type EntraPreset, entra } from "./presets/entra.ts";
import { type GenericPreset, generic } from "./presets/generic.ts";
import { type GithubActionsPreset, githubActions } from "./presets/github-actions.ts";
import { type GitlabPreset, gitlab } from "./presets/gitlab.ts";
import type { JwtEntry } from "./presets/jwt-entry.ts";

/** What is asked to write a configuration for a known issuer. */
export type Preset = EntraPreset | GithubActionsPreset | GitlabPreset | AzurePipelinesPreset | GenericPreset;

/**
 * An `AuthenticationConfiguration` for one or more known issuers.
 *
 * @returns YAML that {@link parseAuthenticationConfiguration} takes.
 * @throws ConnectError `CC_CONFIG_INVALID` when a preset would let anybody in, or what was given makes no valid file.
 */
export function presetConfiguration(presets: readonly Preset[]): string {
  if (presets.length === 0) throw new ConnectError("CC_CONFIG_INVALID", "There is no preset");
  const text = stringify(
    {
      apiVersion: "apiserver.config.k8s.io/v1",
      kind: "AuthenticationConfiguration",
      jwt: presets.flatMap(entriesOf),
    },
    { lineWidth: 0 },
  );
  parseAuthenticationConfiguration(text);
  return text;
}

function entriesOf(preset: Preset): readonly JwtEntry[] {
  switch (preset.kind) {
    case "entra":
      return entra(preset);
    case "github-actions":
      return [githubActions(preset)];
    case "gitlab":
      return [gitlab(preset)];
    case "azure-pipelines":
      return [azurePipelines(preset)];
    case "oidc":
      return [generic(preset)];
  }
}
