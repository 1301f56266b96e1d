import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { testCli } from "../support/cli.ts";
import { startRelay } from "../support/relay.ts";
import { unsignedToken } from "../support/tokens.ts";

test.each(["CLUSTER_CONNECT_CLIENT_ID", "CLUSTER_CONNECT_CLIENT_SECRET"])(
  "half of a machine's client (%s) is no reason to take another login",
  async (variable) => {
    const relay = await startRelay();
    const cli = testCli(await temporaryFolder(), { env: { CLUSTER_CONNECT_RELAY: relay.url, [variable]: "x" } });
    expect(await cli.run("clusters")).toBe(2);
    expect(cli.err()).toContain(`${variable} is set, but CLUSTER_CONNECT_CLIENT_`);
    expect(relay.tokens).toEqual([]);
  },
);

test("a given token needs no client, half or whole", async () => {
  const relay = await startRelay();
  const env = {
    CLUSTER_CONNECT_RELAY: relay.url,
    CLUSTER_CONNECT_CLIENT_ID: "x",
    CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken({ aud: "relay" }),
  };
  expect(await testCli(await temporaryFolder(), { env }).run("clusters", "-o", "name")).toBe(0);
});
