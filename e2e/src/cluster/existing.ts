import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { ConnectError } from "@cluster-connect/protocol";
import { parse } from "yaml";
import { z } from "zod";
import { runToEnd } from "../process/run-to-end.ts";
import type { Tools } from "./binaries/tools.ts";
import { type Cluster, noImages } from "./cluster.ts";

const CONFIG = z.object({
  clusters: z
    .array(
      z.object({
        cluster: z.object({
          server: z.url({ protocol: /^https$/ }),
          "certificate-authority-data": z.base64().optional(),
          "insecure-skip-tls-verify": z.literal(false).optional(),
        }),
      }),
    )
    .length(1),
});

/**
 * A Kubernetes that the person has already, by a context of their kubeconfig; the file itself is only read.
 *
 * @throws ConnectError `CC_KUBECONFIG_INVALID` when there is no such context, or no TLS that is checked.
 */
export async function useExisting(
  context: string,
  options: { readonly folder: string; readonly signal: AbortSignal },
  deps: { readonly tools: Tools; readonly env: NodeJS.ProcessEnv },
): Promise<Cluster> {
  const args = ["config", "view", "--raw", "--minify", "--flatten", "--context", context];
  // kubectl makes its cache below the person's home even where it only reads the kubeconfig.
  const env = { ...deps.env, KUBECACHEDIR: options.folder };
  const viewed = await runToEnd(deps.tools.kubectl, args, { env, signal: options.signal });
  if (viewed.code !== 0) {
    throw new ConnectError("CC_KUBECONFIG_INVALID", `The kubeconfig has no usable context ${context}`, {
      hint: "Run `kubectl config get-contexts` to see which there are.",
    });
  }
  const found = CONFIG.safeParse(parse(viewed.stdout));
  const cluster = found.data?.clusters[0]?.cluster;
  if (cluster === undefined) {
    throw new ConnectError("CC_KUBECONFIG_INVALID", `The context ${context} has no https server that is verified`);
  }
  const kubeconfigPath = join(options.folder, "existing.kubeconfig");
  await writeFile(kubeconfigPath, viewed.stdout, { mode: 0o600 });
  const authorities = cluster["certificate-authority-data"];
  const caPem =
    authorities === undefined ? rootCertificates.join("\n") : Buffer.from(authorities, "base64").toString("utf8");
  const stop = async (): Promise<void> => {};
  return {
    kubeconfigPath,
    apiserverUrl: cluster.server,
    caPem,
    features: { controllers: true, pods: true, auditLog: false },
    hostAddress: "127.0.0.1",
    loadImage: noImages,
    auditEvents: async function* () {},
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
