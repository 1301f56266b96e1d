import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { runToEnd } from "../../src/process/run-to-end.ts";
import { NO_END, useStack } from "../support/stack.ts";

const suite = useStack();

test.for(["browser", "device"] as const)("signing in by %s, listing clusters, and logging out", async (flow) => {
  const cli = await suite().stack.cli(`by-${flow}`);
  const before = await cli.run(["clusters"]);
  expect(before.code).not.toBe(0);
  expect(before.stderr).toMatch(/^error: /);
  await cli.login("viewer", flow);
  const listed = await cli.run(["clusters", "--output", "json"]);
  expect(listed.code).toBe(0);
  expect(JSON.parse(listed.stdout)).toMatchObject({ clusters: [{ id: "demo", status: "connected" }] });
  expect(await cli.run(["logout"])).toMatchObject({ code: 0 });
  expect((await cli.run(["clusters"])).stderr).toContain("cluster-connect login");
});

test("the exec credential is for the cluster's audience and ends before the token does", async () => {
  const { stack, signIn } = suite();
  const viewer = await signIn("viewer");
  const printed = await viewer.cli.run(["credential"]);
  const credential = JSON.parse(printed.stdout) as {
    readonly kind: string;
    readonly status: { readonly token: string; readonly expirationTimestamp: string };
  };
  expect(credential.kind).toBe("ExecCredential");
  const payload = credential.status.token.split(".")[1] ?? "";
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString("utf8")) as { readonly exp: number };
  expect(claims).toMatchObject({ iss: stack.issuer.url, aud: "https://cluster.cluster-connect.test", sub: "viewer" });
  expect(Date.parse(credential.status.expirationTimestamp)).toBeLessThan(claims.exp * 1_000);
});

test("a proxy puts its entry into a person's kubeconfig, and leaves the file as it was", async () => {
  const { stack, tools, folder } = suite();
  const cli = await stack.cli("viewer");
  await cli.login("viewer", "browser");
  const kubeconfigPath = join(folder, "mine.kubeconfig");
  const mine = [
    "# my clusters",
    "apiVersion: v1",
    "kind: Config",
    "clusters: [{ name: own, cluster: { server: https://own.example } }]",
    "contexts: [{ name: own, context: { cluster: own, user: me } }]",
    "users: [{ name: me, user: {} }]",
    "current-context: own # today",
    "",
  ].join("\n");
  await writeFile(kubeconfigPath, mine);
  const proxy = await cli.proxy(["demo"], { kubeconfigPath });
  const env = { ...cli.env, KUBECONFIG: kubeconfigPath };
  const contexts = await runToEnd(tools.kubectl, ["config", "get-contexts", "-o", "name"], { env, signal: NO_END });
  expect(contexts.stdout).toBe("demo\nown\n");
  const asked = await runToEnd(tools.kubectl, ["--context", "demo", "auth", "can-i", "list", "pods"], {
    env,
    signal: NO_END,
  });
  expect(asked).toMatchObject({ code: 0, stdout: "yes\n" });
  await proxy.stop();
  const left = await readFile(kubeconfigPath, "utf8");
  expect(left).not.toContain("127.0.0.1");
  expect(parse(left)).toEqual(parse(mine));
  expect(left).toContain("# my clusters");
});

test("a kubeconfig that the proxy made is gone when it ends", async () => {
  const { proxy } = await suite().signIn("viewer");
  await proxy.stop();
  await expect(readFile(proxy.kubeconfigPath)).rejects.toMatchObject({ code: "ENOENT" });
});
