import { readFile } from "node:fs/promises";
import { ConnectError } from "@cluster-connect/protocol";
import { type Environment, readSettingFile } from "@cluster-connect/service";

/** How this pod reaches the apiserver as its ServiceAccount. */
export interface PodAccount {
  /** Of the apiserver. */
  readonly url: URL;
  /** PEM. */
  readonly ca: string;
  readonly namespace: string;
  readonly token: string;
}

/** Where a pod has its ServiceAccount's files. */
const FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * Reads what Kubernetes gives to each pod.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` outside a pod, `CC_FILE_MISSING` where no token is mounted.
 */
export async function readPodAccount(env: Environment, folder: string = FOLDER): Promise<PodAccount> {
  const host = env["KUBERNETES_SERVICE_HOST"];
  if (host === undefined) {
    throw new ConnectError("CC_CONFIG_INVALID", "KUBERNETES_SERVICE_HOST is not set: this runs in a pod only");
  }
  const port = env["KUBERNETES_SERVICE_PORT"] ?? "443";
  const file = (name: string): Promise<string> => readSettingFile("the pod's account", `${folder}/${name}`);
  return {
    url: new URL(`https://${host.includes(":") ? `[${host}]` : host}:${port}`),
    ca: await file("ca.crt"),
    token: (await file("token")).trim(),
    namespace: (await readFile(`${folder}/namespace`, "utf8").catch(() => "default")).trim(),
  };
}
