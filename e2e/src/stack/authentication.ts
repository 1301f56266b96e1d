import { writeFile } from "node:fs/promises";

/** Before every username and group that comes from the issuer. */
export const NAME_PREFIX = "demo:";

/** Writes Kubernetes' AuthenticationConfiguration: one issuer, one audience, names with {@link NAME_PREFIX}. */
export async function writeAuthentication(path: string, issuerUrl: string, audience: string): Promise<void> {
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [
      {
        issuer: { url: issuerUrl, audiences: [audience] },
        claimMappings: {
          username: { claim: "preferred_username", prefix: NAME_PREFIX },
          groups: { claim: "groups", prefix: NAME_PREFIX },
        },
      },
    ],
  };
  await writeFile(path, JSON.stringify(configuration), { mode: 0o600 });
}
