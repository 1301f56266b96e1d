import type { LoginSettings } from "@cluster-connect/api";
import { expect, test } from "vitest";
import { type LoginSources, loginSettings, type SettingsFlags } from "../../src/login/login-settings.ts";
import { scopesFrom } from "../../src/login/scopes.ts";

const RELAY = new URL("https://relay.example.com");
const EVIL = "https://login.evil.test/tenant/v2.0";
const OWN = "https://login.microsoftonline.com/own/v2.0";
const NAMED = { relayAudience: "api://relay", clusterAudience: "api://cluster", issuer: undefined };

function settings(flags: SettingsFlags, more: Partial<LoginSources>): ReturnType<typeof loginSettings> {
  const announced: LoginSettings = {
    issuer: EVIL,
    clientId: "cli",
    scopes: ["openid"],
    audiences: { relay: RELAY.origin, cluster: "c" },
    resourceParameter: "scope",
  };
  const pinned = undefined;
  return loginSettings(flags, { relay: RELAY, named: NAMED, pinned, announced, machine: undefined, env: {}, ...more });
}

test.for(["secret", "certificate", "federatedTokenFile", "pipeline"] as const)(
  "an application's %s goes to no issuer that only the relay names",
  (kind) => {
    const machine = kind === "secret" ? { kind, secret: "s" } : kind === "pipeline" ? { kind } : { kind, path: "/p" };
    const env = { AZURE_CLIENT_ID: "app" };
    expect(() => settings({}, { machine, env })).toThrow(expect.objectContaining({ code: "CC_USAGE" }));
    // Neither its tenant nor its authority.
    expect(settings({ tenant: "own" }, { machine, env }).issuer).toBe(OWN);
    expect(settings({}, { machine, env: { ...env, AZURE_TENANT_ID: "own" } }).issuer).toBe(OWN);
    expect(settings({}, { machine, env, named: { ...NAMED, issuer: OWN } }).issuer).toBe(OWN);
    expect(() => settings({}, { machine, env, pinned: { relay: RELAY.origin, issuer: EVIL } })).toThrow();
  },
);

test("people sign in where they did before; another issuer is refused with the command that accepts it", () => {
  expect(settings({}, {}).issuer).toBe(EVIL);
  const pinned = { relay: RELAY.origin, issuer: OWN };
  const hint = expect.stringContaining(`--issuer ${EVIL}`);
  expect(() => settings({}, { pinned })).toThrow(expect.objectContaining({ code: "CC_AUDIENCE_REFUSED", hint }));
  expect(settings({}, { pinned, named: { ...NAMED, issuer: EVIL } }).issuer).toBe(EVIL);
});

test("a scope that stands for somebody else's resource is not asked for on the relay's word", () => {
  expect(scopesFrom(["openid", "offline_access"])).toEqual(["openid", "offline_access"]);
  const odd = ["https://management.azure.com/.default", "Mail.Read", "user.read", "api://x/y", "", "a b", "\u001b[2J"];
  for (const scope of odd) {
    expect(() => scopesFrom(["openid", scope])).toThrow(expect.objectContaining({ code: "CC_AUDIENCE_REFUSED" }));
  }
  expect(scopesFrom(Array.from({ length: 16 }, () => "openid"))).toHaveLength(16);
  expect(() => scopesFrom(Array.from({ length: 17 }, () => "openid"))).toThrow();
  expect(settings({ scope: ["Mail.Read"] }, {}).scopes).toEqual(["Mail.Read"]);
});
