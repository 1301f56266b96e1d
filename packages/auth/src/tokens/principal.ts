/** The claims of a verified token, as its issuer wrote them. */
export type Claims = Readonly<Record<string, unknown>>;

/** The caller that the claims name, in Kubernetes' terms. */
export interface MappedIdentity {
  readonly username: string;
  /** In the issuer's order. */
  readonly groups: readonly string[];
  readonly uid?: string;
  /** Values by key; keys are lower-case and domain-prefixed. */
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** A verified caller. Only a {@link TokenVerifier} (or the apiserver's TokenReview) makes one. */
export interface Principal extends MappedIdentity {
  /** `iss`, exactly as configured. */
  readonly issuer: string;
  /** `sub`. */
  readonly subject: string;
  /** When the token ends; long streams end with it. */
  readonly expiresAt: Date;
  readonly claims: Claims;
}
