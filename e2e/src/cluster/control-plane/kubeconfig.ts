import { stringify } from "yaml";
import type { Identity } from "./certificates.ts";

/** A kubeconfig with one cluster, one user with a client certificate and one context. */
export function renderKubeconfig(apiserverUrl: string, caPem: string, identity: Identity): string {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "local", cluster: { server: apiserverUrl, "certificate-authority-data": base64(caPem) } }],
    users: [
      {
        name: "admin",
        user: {
          "client-certificate-data": base64(identity.certPem),
          "client-key-data": base64(identity.keyPem),
        },
      },
    ],
    contexts: [{ name: "local", context: { cluster: "local", user: "admin" } }],
    "current-context": "local",
  });
}
