import { expect, test } from "vitest";
import { kindConfig } from "../../../src/cluster/kind/kind-config.ts";

interface Config {
  readonly networking: { readonly disableDefaultCNI: boolean };
  readonly nodes: readonly [{ readonly extraMounts: readonly { readonly hostPath: string }[] }];
  readonly kubeadmConfigPatches: readonly string[];
}

const patchesOf = (config: Config): readonly Record<string, unknown>[] =>
  config.kubeadmConfigPatches.map((patch): Record<string, unknown> => JSON.parse(patch));

test("the apiserver logs what it audits into a folder of this machine, in both formats of kubeadm", () => {
  const config: Config = JSON.parse(kindConfig({ auditFolder: "/somewhere", ownImage: false }));
  expect(config.nodes[0].extraMounts).toEqual([{ hostPath: "/somewhere", containerPath: "/cluster-connect-audit" }]);
  const log = "/cluster-connect-audit/audit.log";
  expect(patchesOf(config)).toMatchObject([
    { apiVersion: "kubeadm.k8s.io/v1beta3", apiServer: { extraArgs: { "audit-log-path": log } } },
    {
      apiVersion: "kubeadm.k8s.io/v1beta4",
      apiServer: { extraArgs: expect.arrayContaining([{ name: "audit-log-path", value: log }]) },
    },
  ]);
});

test("kind's own image keeps kind's network and settings, ours brings its own", () => {
  const kinds = (ownImage: boolean): readonly unknown[] => {
    const config: Config = JSON.parse(kindConfig({ auditFolder: "/somewhere", ownImage }));
    expect(config.networking.disableDefaultCNI).toBe(ownImage);
    return patchesOf(config).map(({ kind }) => kind);
  };
  const audit = ["ClusterConfiguration", "ClusterConfiguration"];
  expect(kinds(false)).toEqual(audit);
  expect(kinds(true)).toEqual([...audit, "KubeletConfiguration", "InitConfiguration", "KubeProxyConfiguration"]);
});
