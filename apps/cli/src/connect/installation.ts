import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { parseJson } from "../json.ts";
import { type ClusterTools, lastLine } from "./tool.ts";

/** Name of the release and of the objects that it installs. */
export const RELEASE = "cluster-connect-agent";
/** The present state of an installation in a cluster. */
export interface Installation {
  /** Of the chart; undefined when nothing is installed. */
  readonly revision: number | undefined;
  /** The cluster has its key: it needs no code any more. */
  readonly isEnrolled: boolean;
  /** Its name at the relay and the relay, as it was installed. */
  readonly cluster: string | undefined;
  readonly relay: string | undefined;
}

const STATUS = z.object({ version: z.number() });
const VALUES = z.object({
  global: z.object({ resourceName: z.string().optional() }).optional(),
  relay: z.object({ url: z.string().optional() }).optional(),
});
const SECRET = z.object({ data: z.record(z.string(), z.string()).optional() });

/** @throws ConnectError `CC_INSTALL_FAILED` when the cluster cannot be asked. */
export async function findInstallation(namespace: string, tools: ClusterTools): Promise<Installation> {
  const none = { revision: undefined, isEnrolled: false, cluster: undefined, relay: undefined };
  const status = await tools.helm(["status", RELEASE, "--namespace", namespace, "--output", "json"]);
  if (status.code !== 0) {
    if (status.stderr.includes("not found")) return none;
    throw new ConnectError("CC_INSTALL_FAILED", `helm status: ${lastLine(status)}`);
  }
  const given = await tools.helm(["get", "values", RELEASE, "--namespace", namespace, "--output", "json"]);
  const values = VALUES.safeParse(parseJson(given.stdout)).data;
  const secret = await tools.kubectl(["get", "secret", `${RELEASE}-identity`, "-n", namespace, "-o", "json"]);
  const files = SECRET.safeParse(parseJson(secret.stdout)).data?.data ?? {};
  return {
    revision: STATUS.safeParse(parseJson(status.stdout)).data?.version,
    isEnrolled: files["agent-key.pem"] !== undefined && files["enrolled.json"] !== undefined,
    cluster: values?.global?.resourceName,
    relay: values?.relay?.url,
  };
}
