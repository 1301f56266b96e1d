export type { AuthenticationConfig } from "./authentication-config.ts";
export { parseAuthenticationConfiguration } from "./authentication-config.ts";
export { parseBearer } from "./bearer.ts";
export type { ClaimMapping, GroupOverage, PrefixedClaim } from "./claims.ts";
export { createClaimMapper } from "./claims.ts";
export type { DocumentOptions, FetchDocument } from "./document.ts";
export { fetchDocument } from "./document.ts";
export type { AgentKey, AgentPublicKey } from "./enrollment.ts";
export { generateAgentKey, parseAgentKey, parseAgentPublicKey, signChallenge, verifyChallenge } from "./enrollment.ts";
export type { EnrollmentCode, RandomBytes } from "./enrollment-code.ts";
export { hashEnrollmentCode, mintEnrollmentCode, parseEnrollmentCode } from "./enrollment-code.ts";
export type { Expression, ExpressionScope } from "./expression.ts";
export { compileExpression } from "./expression.ts";
export type { HeaderLine, HeaderLines } from "./headers.ts";
export {
  headerTokens,
  headerValues,
  isIdentityHeader,
  isImpersonationHeader,
  toHeaderLines,
  toRawHeaders,
  withoutHopByHop,
  withoutIdentity,
} from "./headers.ts";
export {
  escapeExtraKey,
  impersonationHeaders,
  isUsernameOnly,
  MAX_EXTRA_VALUES,
  MAX_GROUPS,
  parseServiceAccount,
} from "./impersonation.ts";
export type { SignatureAlgorithm, TrustedIssuer } from "./issuers.ts";
export { createIssuerLookup, SIGNATURE_ALGORITHMS } from "./issuers.ts";
export type { KeySetStatus } from "./jwks.ts";
export type { AuthenticationConfigOptions } from "./jwt-authenticator.ts";
export { CLOCK_LEEWAY_MS, MAX_TOKEN_BYTES } from "./limits.ts";
export type { GroupFilter, NameKind } from "./names.ts";
export { assertName, assertNotSystem, filterGroups, MAX_NAME_BYTES, matchesName } from "./names.ts";
export type { AzurePipelinesPreset } from "./presets/azure-pipelines.ts";
export type { EntraPreset } from "./presets/entra.ts";
export type { GenericPreset } from "./presets/generic.ts";
export type { GithubActionsPreset } from "./presets/github-actions.ts";
export type { GitlabPreset } from "./presets/gitlab.ts";
export type { Preset } from "./presets.ts";
export { presetConfiguration } from "./presets.ts";
export type { Claims, MappedIdentity, Principal } from "./principal.ts";
export { redact, tokenFingerprint } from "./redact.ts";
export type { ReloadDeps, ReloadEvent, ReloadingVerifier, ReloadOptions } from "./reload.ts";
export { createReloadingVerifier, SYSTEM_RELOAD_DEPS } from "./reload.ts";
export type { TokenVerifier, VerifierDeps, VerifierOptions } from "./verify.ts";
export { createTokenVerifier, isTrustedIssuer, SYSTEM_VERIFIER_DEPS } from "./verify.ts";
