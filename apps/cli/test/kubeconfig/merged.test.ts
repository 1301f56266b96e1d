import { execFileSync, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { currentElsewhere, refuseMasked } from "../../src/kubeconfig/merged.ts";
import { testCli } from "../support/cli.ts";
import { startRelay } from "../support/relay.ts";
import { unsignedToken } from "../support/tokens.ts";

const hasKubectl = spawnSync("kubectl", ["version", "--client"], { stdio: "ignore" }).status === 0;
const NAME = "cluster-connect/relay.test/prod";
const context = (name: string, cluster: string): string =>
  `contexts:\n- name: ${name}\n  context: {cluster: ${cluster}, user: jane}\n`;

interface Files {
  readonly first: string;
  readonly second: string;
  readonly env: { readonly KUBECONFIG: string };
}

async function files(first: string, second: string): Promise<Files> {
  const folder = await temporaryFolder();
  const paths = [join(folder, "first"), join(folder, "second")] as const;
  await writeFile(paths[0], first);
  await writeFile(paths[1], second);
  return { first: paths[0], second: paths[1], env: { KUBECONFIG: paths.join(delimiter) } };
}

/** Which cluster kubectl takes for a context of the merged files. */
function clusterOf(name: string, { env }: Files): string {
  const words = ["config", "view", "-o", `jsonpath={.contexts[?(@.name=="${name}")].context.cluster}`];
  return execFileSync("kubectl", words, { env: { ...process.env, ...env }, encoding: "utf8" });
}

const entries = { contexts: ["prod"], clusters: [NAME] };

test("an entry that an earlier file would mask is refused, whoever's it is", async () => {
  for (const cluster of ["office", NAME]) {
    const made = await files(context("prod", cluster), "");
    await expect(refuseMasked(made.second, entries, made)).rejects.toMatchObject({
      code: "CC_KUBECONFIG_INVALID",
      message: `${made.first} has a context prod, and KUBECONFIG names it before ${made.second}`,
    });
    if (!hasKubectl) continue;
    await writeFile(made.second, context("prod", "meant"));
    expect(clusterOf("prod", made)).toBe(cluster);
  }
});

test("an entry that would mask another tool's in a later file is refused", async () => {
  const made = await files("", context("prod", "office"));
  await expect(refuseMasked(made.first, entries, made)).rejects.toThrow(
    `${made.second} has a context prod, and KUBECONFIG names it beside ${made.first}`,
  );
});

test("a cluster of ours in an earlier file would lead the context to its port, and is refused", async () => {
  const made = await files(`clusters:\n- name: ${NAME}\n  cluster: {server: "https://127.0.0.1:1"}\n`, "");
  await expect(refuseMasked(made.second, entries, made)).rejects.toThrow(`has the cluster ${NAME}`);
});

test("files that have nothing to do with the entry, or cannot be read, are no obstacle", async () => {
  const made = await files("clusters: [", context("office", "office"));
  await refuseMasked(made.second, entries, made);
  await refuseMasked(join(made.second, "..", "elsewhere"), entries, made);
  const none = await files(context("office", "office"), "");
  await refuseMasked(none.second, entries, none);
});

test("the current context is the first file's that says one", async () => {
  const made = await files("current-context: office\n", "current-context: prod\n");
  expect(await currentElsewhere(made.second, made)).toEqual({ file: made.first, context: "office" });
  expect(await currentElsewhere(made.first, made)).toBeUndefined();
});

test("a proxy whose context another file of KUBECONFIG has does not open, and asks no cluster", async () => {
  const relay = await startRelay();
  const cluster = await relay.addCluster("prod");
  const made = await files("kind: Config\n", context("prod", "office"));
  const env = {
    ...made.env,
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken(),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  const cli = testCli(await temporaryFolder(), { env });
  expect(await cli.run("proxy", "-n", "prod", "--port", "0")).toBe(63);
  expect(cli.err()).toContain("hint: Choose another name with --kube-context");
  expect([relay.tokens, cluster.tokens]).toEqual([[], []]);
  expect(await cli.run("proxy", "-n", "prod", "--port", "0", "--kube-context", "")).toBe(2);
});
