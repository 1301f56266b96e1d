import { ConnectError } from "@cluster-connect/protocol";
import { parseDocument, stringify } from "yaml";
import { parseAuthenticationConfiguration } from "../config/authentication-config.ts";
import { type AzurePipelinesPreset, azurePipelines } from "./azure-pipelines.ts";
import { type EntraPreset, entra } from "./entra.ts";
import { type GenericPreset, generic } from "./generic.ts";
import { type GithubActionsPreset, githubActions } from "./github-actions.ts";
import { type GitlabPreset, gitlab } from "./gitlab.ts";
import type { JwtEntry } from "./jwt-entry.ts";

/** Inputs of a configuration for a known issuer. */
export type Preset = EntraPreset | GithubActionsPreset | GitlabPreset | AzurePipelinesPreset | GenericPreset;

const API_VERSION = "apiserver.config.k8s.io/v1";
const KIND = "AuthenticationConfiguration";

/**
 * An `AuthenticationConfiguration` for one or more known issuers.
 *
 * @param options.addTo The text of such a file; its entries and comments stay, and the new entries come behind them.
 * @returns YAML that {@link parseAuthenticationConfiguration} takes.
 * @throws ConnectError `CC_CONFIG_INVALID` when a preset would let any caller in, or the inputs make no valid file.
 */
export function presetConfiguration(presets: readonly Preset[], options: { readonly addTo?: string } = {}): string {
  if (presets.length === 0) throw new ConnectError("CC_CONFIG_INVALID", "There is no preset");
  const entries = presets.flatMap(entriesOf);
  const text = options.addTo === undefined ? newFile(entries) : withEntries(options.addTo, entries);
  parseAuthenticationConfiguration(text);
  return text;
}

function newFile(jwt: readonly JwtEntry[]): string {
  return stringify({ apiVersion: API_VERSION, kind: KIND, jwt }, { lineWidth: 0 });
}

function withEntries(text: string, entries: readonly JwtEntry[]): string {
  parseAuthenticationConfiguration(text);
  const document = parseDocument(text);
  for (const entry of entries) document.addIn(["jwt"], document.createNode(entry));
  return document.toString({ lineWidth: 0 });
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
