export type { AgentKey, AgentPublicKey } from "./agent-key/agent-key.ts";
export {
  generateAgentKey,
  parseAgentKey,
  parseAgentPublicKey,
  signChallenge,
  verifyChallenge,
} from "./agent-key/agent-key.ts";
export type { EnrollmentCode, RandomBytes } from "./agent-key/enrollment-code.ts";
export { hashEnrollmentCode, mintEnrollmentCode, parseEnrollmentCode } from "./agent-key/enrollment-code.ts";
export { instanceIdOf } from "./agent-key/instance-secret.ts";
export type { Expression, ExpressionScope } from "./cel/expression.ts";
export { compileExpression } from "./cel/expression.ts";
export type { AuthenticationConfig } from "./config/authentication-config.ts";
export { parseAuthenticationConfiguration } from "./config/authentication-config.ts";
export type { AuthenticationConfigOptions } from "./config/jwt-authenticator.ts";
export type { ReloadDeps, ReloadEvent, ReloadingVerifier, ReloadOptions } from "./config/reload.ts";
export { createReloadingVerifier, SYSTEM_RELOAD_DEPS } from "./config/reload.ts";
export type { HeaderLine, HeaderLines } from "./headers/headers.ts";
export {
  headerTokens,
  headerValues,
  isIdentityHeader,
  isImpersonationHeader,
  toHeaderLines,
  toRawHeaders,
  withoutHopByHop,
  withoutIdentity,
} from "./headers/headers.ts";
export { toHttp2Headers, toHttp2Trailers } from "./headers/http2-lines.ts";
export type { ImpliedGroups } from "./headers/impersonation.ts";
export {
  escapeExtraKey,
  impersonationHeaders,
  impliedGroups,
  MAX_EXTRA_VALUES,
  MAX_GROUPS,
  parseServiceAccount,
} from "./headers/impersonation.ts";
export type { GroupFilter, NameKind } from "./headers/names.ts";
export { assertName, assertNotSystem, filterGroups, MAX_NAME_BYTES, matchesName } from "./headers/names.ts";
export type { DocumentOptions, FetchDocument, FetchDocumentDeps } from "./keys/document.ts";
export { createFetchDocument, fetchDocument } from "./keys/document.ts";
export type { KeySetStatus } from "./keys/jwks.ts";
export { CLOCK_LEEWAY_MS, MAX_TOKEN_BYTES } from "./limits.ts";
export type { AzurePipelinesPreset } from "./presets/azure-pipelines.ts";
export type { EntraPreset } from "./presets/entra.ts";
export type { GenericPreset } from "./presets/generic.ts";
export type { GithubActionsPreset } from "./presets/github-actions.ts";
export type { GitlabPreset } from "./presets/gitlab.ts";
export type { Preset } from "./presets/presets.ts";
export { presetConfiguration } from "./presets/presets.ts";
export { parseBearer } from "./tokens/bearer.ts";
export type { ClaimMapping, GroupOverage, PrefixedClaim } from "./tokens/claims.ts";
export { createClaimMapper } from "./tokens/claims.ts";
export type { SignatureAlgorithm, TrustedIssuer } from "./tokens/issuers.ts";
export { createIssuerLookup, SIGNATURE_ALGORITHMS } from "./tokens/issuers.ts";
export type { Claims, MappedIdentity, Principal } from "./tokens/principal.ts";
export { redact, tokenFingerprint } from "./tokens/redact.ts";
export type { TokenVerifier, VerifierDeps, VerifierOptions } from "./tokens/verify.ts";
export { createTokenVerifier, isTrustedIssuer, SYSTEM_VERIFIER_DEPS } from "./tokens/verify.ts";
