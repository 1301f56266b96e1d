import type { DirectProxy, DirectWorld } from "./direct-proxy.ts";

/** Starts the auth proxy with the role that it shows for these settings when it is started without any. */
export async function startWithShownRole(
  world: DirectWorld,
  config: Readonly<Record<string, unknown>>,
): Promise<DirectProxy> {
  await world.setRole({
    yaml: "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: nothing }\nrules: []\n",
  });
  const { log } = await world.startToEnd(config);
  await world.setRole({ yaml: /---\n(apiVersion: rbac[\s\S]*?)\n(?=\{|error:)/.exec(log)?.[1] ?? "" });
  return await world.start(config);
}
