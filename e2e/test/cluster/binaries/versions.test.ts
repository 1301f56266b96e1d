import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import {
  COREDNS_VERSION,
  ETCD_VERSION,
  KIND_VERSION,
  KUBERNETES_VERSION,
} from "../../../src/cluster/binaries/versions.ts";

const read = (path: string): Promise<string> =>
  readFile(fileURLToPath(new URL(`../../../go/${path}`, import.meta.url)), "utf8");

test("the wrapper modules name the versions that the cache folder is called by", async () => {
  expect(await read("etcd/go.mod")).toContain(`go.etcd.io/etcd/server/v3 v${ETCD_VERSION}\n`);
  expect(await read("kind/go.mod")).toContain(`sigs.k8s.io/kind v${KIND_VERSION}\n`);
  expect(await read("coredns/go.mod")).toContain(`github.com/coredns/coredns v${COREDNS_VERSION}\n`);
  const kubernetes = await read("kubernetes/go.mod");
  expect(kubernetes).toContain(`k8s.io/kubernetes v${KUBERNETES_VERSION}\n`);
  const replaced = kubernetes.match(/^\s*replace \S+ => \S+ v(\S+)$/gm) ?? [];
  const staging = KUBERNETES_VERSION.replace(/^1/, "0");
  expect(replaced.length).toBeGreaterThan(0);
  expect(replaced.filter((line) => !line.endsWith(` v${staging}`))).toEqual([]);
  expect(await read("client/go.mod")).toContain(`k8s.io/client-go v${staging}\n`);
});
