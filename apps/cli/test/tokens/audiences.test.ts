import { parseClusterId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import {
  type AudienceSources,
  acceptClusterAudience,
  acceptRelayAudience,
  audienceFor,
  clusterOfAudience,
  requireTwoAudiences,
} from "../../src/tokens/audiences.ts";
import {
  requireDifferentTokens,
  requireNoClusterToken,
  requireOneCluster,
  requireRelayToken,
} from "../../src/tokens/token-audience.ts";
import { unsignedToken } from "../support/tokens.ts";

const RELAY = new URL("https://relay.example.com");
const FOREIGN = "https://management.azure.com";
const REFUSED = expect.objectContaining({ code: "CC_AUDIENCE_REFUSED" });

function sources(more: Partial<AudienceSources> = {}): AudienceSources {
  const named = { relayAudience: undefined, clusterAudience: undefined };
  return { relay: RELAY, named, pinned: {}, announced: undefined, caller: "person", ...more };
}

const announced = (relay: string, cluster = `${RELAY.origin}/clusters`): AudienceSources => {
  return sources({ announced: { relay, cluster } });
};

test("the relay's audience is its own address, also where it says nothing", () => {
  expect(acceptRelayAudience(sources())).toBe(RELAY.origin);
  expect(acceptRelayAudience(announced(RELAY.origin))).toBe(RELAY.origin);
  expect(acceptRelayAudience(announced(`${RELAY.origin}/`))).toBe(`${RELAY.origin}/`);
});

test.for([
  FOREIGN,
  "api://AzureADTokenExchange",
  "sts.amazonaws.com",
  "http://relay.example.com",
  "https://relay.example.com.evil.test",
  "https://relay.example.com:8443",
  "https://relay.example.com/other",
])("another audience that only the relay names, such as %s, is refused with the flag that names it", (audience) => {
  expect(() => acceptRelayAudience(announced(audience))).toThrow(REFUSED);
  const named = { relayAudience: audience, clusterAudience: undefined };
  expect(acceptRelayAudience({ ...announced("https://else.test"), named })).toBe(audience);
});

test("an audience that was pinned stays, and a change is refused with the command that accepts it", () => {
  const pinned = { relay: "api://relay", cluster: "api://cluster" };
  expect(acceptRelayAudience({ ...announced("api://relay"), pinned })).toBe("api://relay");
  expect(acceptRelayAudience(sources({ pinned }))).toBe("api://relay");
  const hint = "cluster-connect login --relay https://relay.example.com --relay-audience https://management.azure.com";
  expect(() => acceptRelayAudience({ ...announced(FOREIGN), pinned })).toThrow(
    expect.objectContaining({ code: "CC_AUDIENCE_REFUSED", hint: expect.stringContaining(hint) }),
  );
  // Not even for its own address: the relay that was accepted is another one.
  expect(() => acceptRelayAudience({ ...announced(RELAY.origin), pinned })).toThrow(REFUSED);
  expect(() => acceptClusterAudience({ ...announced("api://relay", FOREIGN), pinned })).toThrow(REFUSED);
});

test("a machine's token for clusters has an audience that the person named, or one below the relay's address", () => {
  const machine = (cluster: string): AudienceSources => ({ ...announced(RELAY.origin, cluster), caller: "machine" });
  expect(() => acceptClusterAudience(machine(FOREIGN))).toThrow(REFUSED);
  expect(() => acceptClusterAudience(machine(RELAY.origin))).toThrow(REFUSED);
  expect(() => acceptClusterAudience(machine(`${RELAY.origin}.evil.test/x`))).toThrow(REFUSED);
  expect(acceptClusterAudience(machine(`${RELAY.origin}/clusters/{cluster}`))).toContain("{cluster}");
  const named = { relayAudience: undefined, clusterAudience: "kubernetes" };
  expect(acceptClusterAudience({ ...machine(FOREIGN), named })).toBe("kubernetes");
  expect(acceptClusterAudience(announced(RELAY.origin, FOREIGN))).toBe(FOREIGN);
  expect(() => acceptClusterAudience(sources())).toThrow(expect.objectContaining({ code: "CC_USAGE" }));
});

test.for([
  ["same", "same"],
  ["https://c.test/prod", "https://c.test/{cluster}"],
  ["prod", "{cluster}"],
])("the relay's audience %s beside the clusters' %s is refused", ([relay, cluster]) => {
  expect(() => requireTwoAudiences({ relay: relay ?? "", cluster: cluster ?? "" })).toThrow(REFUSED);
});

test("each cluster's audience is its own where the settings say so, and the name is needed then", () => {
  const audiences = { relay: "r", cluster: "https://c.test/{cluster}" };
  expect(audienceFor(audiences, "cluster", parseClusterId("prod"))).toBe("https://c.test/prod");
  expect(audienceFor(audiences, "relay", undefined)).toBe("r");
  expect(() => audienceFor(audiences, "cluster", undefined)).toThrow(expect.objectContaining({ code: "CC_USAGE" }));
  expect(audienceFor({ relay: "r", cluster: "c" }, "cluster", undefined)).toBe("c");
});

test("an audience with the place of a cluster names it", () => {
  expect(clusterOfAudience("https://c.test/{cluster}/k", "https://c.test/prod/k")).toBe("prod");
  const none = [
    "https://c.test/",
    "https://c.test//k",
    "https://c.test/a/b/k",
    "https://c.test/k",
    "https://d.test/a/k",
  ];
  for (const audience of none) expect(clusterOfAudience("https://c.test/{cluster}/k", audience)).toBe(undefined);
  expect(clusterOfAudience("c", "c")).toBe(undefined);
});

test("an audience of a person's own names the cluster at most once", () => {
  const named = { relayAudience: undefined, clusterAudience: "{cluster}/{cluster}" };
  expect(() => acceptClusterAudience(sources({ named }))).toThrow(expect.objectContaining({ code: "CC_USAGE" }));
});

const RELAY_APP = "dddddddd-0000-4000-8000-00000000000d";
const ENTRA = { isEntra: true };
const OTHER = { isEntra: false };

test("only a token that says it is for the relay goes there", () => {
  requireRelayToken(unsignedToken({ aud: ["userinfo", "r"] }), "r", OTHER);
  const wrong = expect.objectContaining({ code: "CC_TOKEN_AUDIENCE" });
  for (const token of [unsignedToken({ aud: FOREIGN }), unsignedToken(), "opaque", "a.b.c"]) {
    expect(() => requireRelayToken(token, "r", OTHER)).toThrow(wrong);
  }
  // Entra names an application by its id, also when it was asked by another name.
  requireRelayToken(unsignedToken({ aud: RELAY_APP }), `api://${RELAY_APP}`, ENTRA);
  requireRelayToken(unsignedToken({ aud: RELAY_APP }), "api://relay", ENTRA);
  expect(() => requireRelayToken(unsignedToken({ aud: RELAY_APP }), "api://relay", OTHER)).toThrow(wrong);
  expect(() => requireRelayToken(unsignedToken({ aud: FOREIGN }), "api://relay", ENTRA)).toThrow(wrong);
  const another = RELAY_APP.replace("d", "e");
  expect(() => requireRelayToken(unsignedToken({ aud: another }), `api://${RELAY_APP}`, ENTRA)).toThrow(wrong);
});

test("a token that a cluster takes, too, does not go to the relay", () => {
  expect(() => requireNoClusterToken(unsignedToken({ aud: ["r", "c/prod"] }), "c/{cluster}")).toThrow(REFUSED);
  requireNoClusterToken(unsignedToken({ aud: "r" }), "c/{cluster}");
  expect(() => requireDifferentTokens("opaque", "opaque")).toThrow(REFUSED);
  expect(() => requireDifferentTokens(unsignedToken({ aud: ["r", "c"] }), unsignedToken({ aud: "c" }))).toThrow(
    REFUSED,
  );
  requireDifferentTokens(unsignedToken({ aud: "r" }), unsignedToken({ aud: "c" }));
});

test("a token that another cluster takes, too, does not go to a cluster", () => {
  const wrong = expect.objectContaining({ code: "CC_TOKEN_AUDIENCE" });
  const check = (aud: unknown, clusters = "c/{cluster}"): void =>
    requireOneCluster(unsignedToken({ aud }), clusters, clusters.replace("{cluster}", "prod"));
  check("c/prod");
  check(["userinfo", "c/prod"]);
  check(["c/prod", "c/staging"], "c/all");
  // Entra names an application by its id.
  check(RELAY_APP, "{cluster}");
  expect(() => check("c/staging")).toThrow(wrong);
  expect(() => check(["c/prod", "c/staging"])).toThrow(wrong);
});
