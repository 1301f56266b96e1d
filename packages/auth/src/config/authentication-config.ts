import { ConnectError } from "@cluster-connect/protocol";
import { parseDocument } from "yaml";
import { MAX_CONFIG_BYTES, MAX_ISSUERS } from "../limits.ts";
import type { TrustedIssuer } from "../tokens/issuers.ts";
import { type ConfigReader, createConfigReader, createProblems, type Problems } from "./config-reader.ts";
import { type AuthenticationConfigOptions, readJwtAuthenticator } from "./jwt-authenticator.ts";

/** A parsed `AuthenticationConfiguration`. */
export interface AuthenticationConfig {
  readonly issuers: readonly TrustedIssuer[];
}

const API_VERSIONS: readonly string[] = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];

/**
 * Reads Kubernetes' own format by Kubernetes' own rules, strictly.
 *
 * Left out on purpose: `anonymous.enabled: true` and `egressSelectorType` are refused, as there is nothing behind them.
 *
 * @param text YAML or JSON.
 * @throws ConnectError `CC_CONFIG_INVALID` naming every problem with its path, joined by "; ".
 * @see https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration
 */
export function parseAuthenticationConfiguration(
  text: string,
  options: AuthenticationConfigOptions = {},
): AuthenticationConfig {
  const problems = createProblems();
  const issuers = readConfiguration(parseYaml(text), options, problems);
  if (problems.list.length === 0) return { issuers };
  throw invalidConfiguration(problems.list);
}

/** A configuration some of whose entries may be wrong. */
export interface PartialAuthenticationConfig extends AuthenticationConfig {
  /** The faults of the others, and the issuers that they are about as far as they say so. */
  readonly broken: { readonly urls: readonly string[]; readonly error: ConnectError } | undefined;
}

/**
 * As {@link parseAuthenticationConfiguration}, but a wrong entry costs nothing but itself.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` when it is no such file at all.
 */
export function parseAuthenticationEntries(
  text: string,
  options: AuthenticationConfigOptions = {},
): PartialAuthenticationConfig {
  const problems = createProblems();
  const issuers = readConfiguration(parseYaml(text), options, problems);
  const entryOf = (problem: string): number | undefined => {
    const index = /^jwt\[([0-9]+)\]/.exec(problem)?.[1];
    return index === undefined ? undefined : Number(index);
  };
  if (problems.list.some((problem) => entryOf(problem) === undefined)) throw invalidConfiguration(problems.list);
  if (problems.list.length === 0) return { issuers, broken: undefined };
  const wrong = new Set(problems.list.map(entryOf));
  const urls = issuers.filter((_, index) => wrong.has(index)).map(({ url }) => url);
  const error = invalidConfiguration(problems.list);
  return { issuers: issuers.filter((_, index) => !wrong.has(index)), broken: { urls, error } };
}

function readConfiguration(
  value: unknown,
  options: AuthenticationConfigOptions,
  problems: Problems,
): readonly TrustedIssuer[] {
  const root = createConfigReader(value, "", problems);
  const apiVersion = root.text("apiVersion");
  if (apiVersion === undefined || !API_VERSIONS.includes(apiVersion)) {
    root.fail(`must be ${API_VERSIONS.join(" or ")}`, "apiVersion");
  }
  if (root.text("kind") !== "AuthenticationConfiguration") root.fail("must be AuthenticationConfiguration", "kind");
  const entries = root.objects("jwt");
  if (entries.length > MAX_ISSUERS) root.fail(`must have at most ${MAX_ISSUERS} entries`, "jwt");
  readAnonymous(root);
  const issuers = entries.slice(0, MAX_ISSUERS).map((entry) => readJwtAuthenticator(entry, options));
  reportRepeats(entries, issuers, (issuer) => issuer.url, "issuer.url");
  reportRepeats(entries, issuers, (issuer) => issuer.discoveryUrl, "issuer.discoveryURL");
  root.end();
  return issuers;
}

function readAnonymous(root: ConfigReader): void {
  const anonymous = root.object("anonymous");
  if (anonymous === undefined) return;
  if (anonymous.flag("enabled") === true) anonymous.fail("is not supported: every caller has a token", "enabled");
  if (anonymous.objects("conditions").length > 0) anonymous.fail("is not supported", "conditions");
  anonymous.end();
}

function reportRepeats(
  entries: readonly ConfigReader[],
  issuers: readonly TrustedIssuer[],
  keyOf: (issuer: TrustedIssuer) => string | undefined,
  field: string,
): void {
  const seen = new Set<string>();
  issuers.forEach((issuer, index) => {
    const key = keyOf(issuer);
    if (key === undefined || key === "") return;
    if (seen.has(key)) entries[index]?.fail("is listed twice", field);
    seen.add(key);
  });
}

function parseYaml(text: string): unknown {
  if (text.length > MAX_CONFIG_BYTES)
    throw invalidConfiguration([`the file has more than ${MAX_CONFIG_BYTES} characters`]);
  const document = parseDocument(text, { prettyErrors: false, stringKeys: true });
  const faults = document.errors.map((error) => `not YAML at character ${error.pos[0]}: ${oneLine(error.message)}`);
  if (faults.length > 0) throw invalidConfiguration(faults);
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw invalidConfiguration(["the file has too many aliases"], cause);
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

function invalidConfiguration(problems: readonly string[], cause?: unknown): ConnectError {
  return new ConnectError("CC_CONFIG_INVALID", `AuthenticationConfiguration is wrong: ${problems.join("; ")}`, {
    cause,
  });
}
