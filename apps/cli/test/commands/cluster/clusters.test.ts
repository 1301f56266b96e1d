import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { testCli } from "../../support/cli.ts";
import { startRelay, type TestRelay } from "../../support/relay.ts";
import { unsignedToken } from "../../support/tokens.ts";

async function stage(): Promise<{ relay: TestRelay; cli: ReturnType<typeof testCli> }> {
  const relay = await startRelay();
  const env = { CLUSTER_CONNECT_RELAY: relay.url, CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken() };
  return { relay, cli: testCli(await temporaryFolder(), { env }) };
}

test("the table says how each cluster is and when it was last seen", async () => {
  const { relay, cli } = await stage();
  await relay.addCluster("prod");
  const offline = await relay.addCluster("test");
  offline.rejection = "CC_AGENT_OFFLINE";
  offline.announced = null;
  expect(await cli.run("clusters")).toBe(0);
  const [title, prod, test, ...more] = cli.out().split("\n");
  expect(title).toBe("NAME   STATUS      LAST SEEN   AGENTS   FINGERPRINT               REASON");
  expect(prod).toMatch(/^prod {3}connected {3}7s ago {6}1 {8}([0-9A-F]{2}:){7}[0-9A-F]{2}$/);
  expect(test).toMatch(/^test {3}offline {5}7s ago {6}1 {8}-$/);
  expect(more).toEqual([""]);
});

test("JSON and YAML have the same fields, and a fingerprint that was computed here", async () => {
  const { relay, cli } = await stage();
  await relay.addCluster("prod");
  await cli.run("clusters", "-o", "json");
  const json = JSON.parse(cli.out());
  expect(json.clusters[0]).toMatchObject({ id: "prod", status: "connected", lastSeenSeconds: 7 });
  expect(json.clusters[0].fingerprint).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  const other = testCli("/nowhere", { env: cli.deps.env });
  await other.run("clusters", "-o", "yaml");
  expect(parse(other.out())).toEqual(json);
});

test("no cluster at all is a sentence, not an empty table", async () => {
  const { cli } = await stage();
  expect(await cli.run("clusters")).toBe(0);
  expect(cli.out()).toBe("");
  expect(cli.err()).toContain("lets you reach no cluster. Ask its administrator for a grant.");
});

test("something that is no relay is told so", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  Object.assign(cluster, { serverName: "not a name!" });
  expect(await cli.run("clusters")).toBe(8);
  expect(cli.err()).toContain("/v1/clusters does not answer as a cluster-connect relay does (clusters.0.serverName)");
  expect(cli.err()).not.toContain("not a name!");
});

test("a missing authorities file is named", async () => {
  const { cli } = await stage();
  expect(await cli.run("clusters", "--ca-file", "/nowhere.pem")).toBe(61);
  expect(cli.err()).toContain("There is no file /nowhere.pem");
});

test("trust is JSON for scripts, before and after an authority was accepted", async () => {
  const { relay, cli } = await stage();
  await relay.addCluster("prod");
  const shown = async (...flags: readonly string[]): Promise<unknown> => {
    const from = cli.out().length;
    expect(await cli.run("clusters", "trust", "-n", "prod", "-o", "json", ...flags)).toBe(0);
    return JSON.parse(cli.out().slice(from));
  };
  const fingerprint = expect.stringMatching(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  const before = await shown();
  expect(before).toEqual({ cluster: "prod", trusted: [], announced: [fingerprint] });
  const { announced } = before as { readonly announced: readonly string[] };
  const after = { cluster: "prod", trusted: announced, announced };
  expect(await shown("--fingerprint", announced[0] ?? "")).toEqual(after);
  expect(await shown()).toEqual(after);
});

test("trust shows what is trusted and what is announced", async () => {
  const { relay, cli } = await stage();
  await relay.addCluster("prod");
  expect(await cli.run("clusters", "trust", "-n", "prod")).toBe(0);
  expect(cli.out()).toMatch(/^trusted {4}none yet\nannounced {2}([0-9A-F]{2}:){31}[0-9A-F]{2}\n$/);
});

test.each(["table", "json", "yaml", "name"])(
  "an authority that waits is told with %s, and how it is decided",
  async (format) => {
    const { relay, cli } = await stage();
    const cluster = await relay.addCluster("prod");
    cluster.pending = Array(32).fill("AB").join(":");
    expect(await cli.run("clusters", "-o", format)).toBe(0);
    expect(cli.err()).toContain(`warning: An agent of prod announces another authority, SHA-256 ${cluster.pending}. `);
    expect(cli.err()).toContain(`cluster-connect admin clusters accept prod --fingerprint ${cluster.pending}`);
    if (format === "table") expect(cli.out()).toMatch(/ {3}another authority waits to be accepted$/m);
    if (format === "json")
      expect(JSON.parse(cli.out()).clusters[0]).toMatchObject({ pendingFingerprint: cluster.pending });
    if (format === "yaml") expect(parse(cli.out()).clusters[0]).toMatchObject({ pendingFingerprint: cluster.pending });
  },
);

test.each(["table", "json", "yaml", "name"])(
  "another cluster under the name is told with %s, and how it is decided",
  async (format) => {
    const { relay, cli } = await stage();
    const cluster = await relay.addCluster("prod");
    cluster.duplicate = "uid-of-the-copy";
    expect(await cli.run("clusters", "-o", format)).toBe(0);
    expect(cli.err()).toContain("warning: Another cluster, with the UID uid-of-the-copy, claims the name prod");
    for (const verb of ["accept", "refuse"]) {
      expect(cli.err()).toContain(`cluster-connect admin clusters ${verb} prod --uid uid-of-the-copy`);
    }
    if (format === "table") expect(cli.out()).toMatch(/ {3}another cluster claims the name$/m);
    if (format === "json") expect(JSON.parse(cli.out()).clusters[0]).toMatchObject({ pendingUid: "uid-of-the-copy" });
  },
);

test("a UID that waits and is none is refused, as another text of the relay is", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  cluster.duplicate = "\u001b[2J";
  expect(await cli.run("clusters")).toBe(8);
  expect(cli.err()).not.toContain("\u001b[2J");
});

test("a fingerprint that waits and is none is refused, as another text of the relay is", async () => {
  const { relay, cli } = await stage();
  const cluster = await relay.addCluster("prod");
  cluster.pending = "\u001b[2J";
  expect(await cli.run("clusters")).toBe(8);
  expect(cli.err()).not.toContain("\u001b[2J");
});
