import { writeFile } from "node:fs/promises";

/** Before every username and group that comes from the issuer. */
export const NAME_PREFIX = "demo:";

/** An issuer with tokens that are believed. */
export interface BelievedIssuer {
  readonly issuerUrl: string;
  /** PEM, where the issuer has TLS. */
  readonly issuerCaPem?: string;
  readonly audience: string;
}

/** The list `jwt` of Kubernetes' AuthenticationConfiguration: one issuer, names with {@link NAME_PREFIX}. */
export function jwtAuthenticators({ issuerUrl, issuerCaPem, audience }: BelievedIssuer): readonly unknown[] {
  return [
    {
      issuer: {
        url: issuerUrl,
        audiences: [audience],
        ...(issuerCaPem === undefined ? {} : { certificateAuthority: issuerCaPem }),
      },
      claimMappings: {
        username: { claim: "preferred_username", prefix: NAME_PREFIX },
        groups: { claim: "groups", prefix: NAME_PREFIX },
      },
    },
  ];
}

/** Writes Kubernetes' AuthenticationConfiguration. */
export async function writeAuthentication(path: string, issuer: BelievedIssuer): Promise<void> {
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: jwtAuthenticators(issuer),
  };
  await writeFile(path, JSON.stringify(configuration), { mode: 0o600 });
}
