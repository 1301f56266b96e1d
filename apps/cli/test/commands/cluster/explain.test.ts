import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { type TestCli, testCli } from "../../support/cli.ts";
import { startRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

async function stage(): Promise<TestCli> {
  const relay = await startRelay();
  await relay.addCluster("prod");
  await relay.addCluster("shop--web");
  const env = {
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_TOKEN: unsignedToken({
      iss: "https://issuer.test",
      sub: "jane",
      groups: ["team"],
      other: "private",
    }),
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(),
  };
  return testCli(await temporaryFolder(), { env });
}

test("what the token says stands beside who the cluster takes the caller for", async () => {
  const cli = await stage();
  expect(await cli.run("explain", "-n", "prod")).toBe(0);
  expect(cli.out()).toContain('  sub                  "jane"\n  groups               ["team"]\n');
  expect(cli.out()).toContain(
    "prod takes you for\n  username             oidc:jane\n  group                oidc:team\n",
  );
  expect(cli.out()).not.toContain("private");
});

test("the authority of a cluster that was never seen is shown, once", async () => {
  const cli = await stage();
  expect(await cli.run("explain", "-n", "prod")).toBe(0);
  expect(cli.err()).toMatch(
    /^prod is seen for the first time.*\n {2}([0-9A-F]{2}:){31}[0-9A-F]{2}\nCompare it .*: yes\n$/,
  );
  const told = cli.err();
  expect(await cli.run("explain", "-n", "prod")).toBe(0);
  expect(cli.err()).toBe(told);
});

test("as JSON it is for scripts, and holds no token", async () => {
  const cli = await stage();
  expect(await cli.run("explain", "-n", "prod", "-o", "json")).toBe(0);
  expect(JSON.parse(cli.out())).toMatchObject({
    claims: { iss: "https://issuer.test", sub: "jane" },
    clusters: { prod: { username: "oidc:jane", groups: ["oidc:team", "system:authenticated"] } },
  });
  expect(cli.out()).not.toContain("eyJ");
});

test("which grant lets the caller in is said, and which nearly would", async () => {
  const cli = await stage();
  expect(await cli.run("explain", "-n", "prod")).toBe(0);
  expect(cli.out()).toContain("\nYou may reach prod: granted to group team by api/team\n");
  expect(await cli.run("explain", "-n", "gone")).toBe(4);
  expect(cli.err()).toContain(
    "You may not reach gone: the grant has expired\n  api/old would allow it, but it has expired\n",
  );
});

test("with a group, the grant is that of the group's cluster", async () => {
  const cli = await stage();
  expect(await cli.run("explain", "-g", "Shop", "-n", "web")).toBe(0);
  expect(cli.out()).toContain("\nYou may reach shop--web: granted");
  expect(cli.out()).toContain("\nshop--web takes you for\n");
  expect(cli.err()).not.toContain("may not reach");
});
