import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { type TestCli, testCli } from "../support/cli.ts";

interface Stage {
  readonly kubeconfig: string;
  readonly gone: string;
  cli(): TestCli;
  exec(): Promise<{ readonly command: string; readonly args: readonly string[] }>;
}

/** An entry that stays, whose Node was replaced by a newer one. */
async function stage(kubeconfigText?: string): Promise<Stage> {
  const home = await temporaryFolder();
  const kubeconfig = join(home, "config");
  const gone = join(home, "Cellar/node/24.21.0/bin/node");
  const args = ["/also/gone.mjs", "credential", "--relay", "https://relay.test", "--name", "prod", "--port", "21999"];
  const entry = {
    name: "cluster-connect/relay.test/prod",
    context: "prod",
    port: 21_999,
    serverName: "prod.test",
    authorities: "pem",
    credential: { command: gone, args },
  };
  const text = `clusters:
- name: ${entry.name}
  cluster: {server: "https://127.0.0.1:21999"}
contexts:
- name: prod
  context: {cluster: ${entry.name}, user: ${entry.name}, namespace: shop}
users:
- name: ${entry.name}
  user: {exec: {command: ${gone}, args: []}}
current-context: other
`;
  await writeFile(kubeconfig, kubeconfigText ?? text);
  const state = join(home, ".local/state/cluster-connect");
  await mkdir(state, { recursive: true });
  const kept = [{ kubeconfig, relay: "https://relay.test", cluster: "prod", entry, former: null }];
  await writeFile(join(state, "kubeconfig-entries.json"), JSON.stringify(kept));
  return {
    kubeconfig,
    gone,
    cli: () => testCli(home, { env: { KUBECONFIG: kubeconfig } }),
    exec: async () => parse(await readFile(kubeconfig, "utf8")).users[0].user.exec,
  };
}

test.each([[["kubeconfig", "list", "-o", "json"]], [["status", "-o", "json"]]])(
  "`%s` finds an entry whose program is gone, and has it start this one",
  async (argv) => {
    const { cli, exec, gone, kubeconfig } = await stage();
    const one = cli();
    expect(await one.run(...argv)).toBe(0);
    expect(one.err()).toBe(`Mended: prod in ${kubeconfig} started ${gone}, which is gone.\n`);
    const { command, args } = await exec();
    expect(command).toBe(one.deps.self.command);
    expect(args).toEqual([
      ...one.deps.self.args,
      ...["credential", "--relay", "https://relay.test", "--name", "prod", "--port", "21999"],
    ]);
    const value = parse(await readFile(kubeconfig, "utf8"));
    expect(value["current-context"]).toBe("other");
    expect(value.contexts[0].context.namespace).toBe("shop");
    const again = cli();
    await again.run(...argv);
    expect(again.err()).toBe("");
  },
);

test("an entry that cannot be mended is shown as broken, with the reason", async () => {
  const { cli, kubeconfig, gone } = await stage("clusters: [");
  const one = cli();
  expect(await one.run("kubeconfig", "list", "-o", "json")).toBe(0);
  expect(JSON.parse(one.out()).entries).toMatchObject([{ context: "prod", state: "broken" }]);
  expect(one.err()).toContain(`warning: prod in ${kubeconfig} started ${gone}, which is gone, and cannot be mended: `);
});

test("doctor tells of entries that it mended", async () => {
  const { cli } = await stage();
  const one = cli();
  await one.run("doctor", "--relay", "http://127.0.0.1:1", "-o", "json");
  expect(JSON.parse(one.out()).checks[0]).toMatchObject({
    check: "kubeconfig entries",
    status: "ok",
    detail: expect.stringContaining("1 kept; Mended: prod in "),
  });
});
