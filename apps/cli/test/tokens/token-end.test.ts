import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { chooseTokens } from "../../src/tokens/choose-tokens.ts";
import { createTokenEnd } from "../../src/tokens/token-end.ts";
import { testCli } from "../support/cli.ts";
import { unsignedToken } from "../support/tokens.ts";

const RELAY = new URL("https://relay.test");
const { signal } = new AbortController();
/** The time at the relay and at the issuer. */
const TRUE_MS = Date.parse("2026-03-01T12:00:00Z");
const HOUR_MS = 3_600_000;
const [IAT, EXP] = [TRUE_MS / 1_000, TRUE_MS / 1_000 + 3_600];
const token = unsignedToken({ iat: IAT, exp: EXP });

function stage(aheadMs: number, isThere = true) {
  const warnings: string[] = [];
  const asked: string[] = [];
  const deps = {
    now: () => TRUE_MS + aheadMs,
    fetch: async (input: Parameters<typeof fetch>[0]) => {
      asked.push(String(input));
      if (!isThere) throw new Error("nobody is there");
      return new Response(null, { headers: { date: new Date(TRUE_MS).toUTCString() } });
    },
    stderr: { isTerminal: false, columns: 80, write: (text: string) => void warnings.push(text) },
  };
  return { deps, asked, warnings: () => warnings.join("") };
}

test.each([
  [5 * HOUR_MS, "5h ahead of"],
  [-5 * HOUR_MS, "5h behind"],
  [240 * HOUR_MS, "10d ahead of"],
])(
  "by a clock that is off by %i ms a token ends when it ends by the relay's, and the clock is told once",
  async (aheadMs, words) => {
    const { deps, warnings } = stage(aheadMs);
    const endOf = createTokenEnd(RELAY, deps);
    for (let times = 0; times < 2; times += 1) {
      expect(await endOf(token, { signal })).toEqual(new Date(EXP * 1_000 + aheadMs));
    }
    expect(warnings()).toBe(`warning: this machine's clock is ${words} relay.test's: set it (NTP)\n`);
  },
);

test("by a clock that is right nothing is asked", async () => {
  const { deps, asked, warnings } = stage(0);
  expect(await createTokenEnd(RELAY, deps)(token, { signal })).toEqual(new Date(EXP * 1_000));
  expect([asked, warnings()]).toEqual([[], ""]);
});

test("a token that is over by the relay's clock too, or while the relay is away, is over", async () => {
  const over = stage(2 * HOUR_MS);
  const old = unsignedToken({ iat: IAT - 7_200, exp: IAT - 3_600 });
  expect((await createTokenEnd(RELAY, over.deps)(old, { signal }))?.getTime()).toBeLessThan(over.deps.now());
  const away = stage(2 * HOUR_MS, false);
  expect(await createTokenEnd(RELAY, away.deps)(token, { signal })).toEqual(new Date(EXP * 1_000));
});

test("a token that says no end has none", async () => {
  const { deps, asked } = stage(5 * HOUR_MS);
  expect(await createTokenEnd(RELAY, deps)(unsignedToken({ exp: undefined }), { signal })).toBeUndefined();
  expect(asked).toEqual([]);
});

test.each([
  ["a given token", { CLUSTER_CONNECT_TOKEN: token }, "CLUSTER_CONNECT_TOKEN"],
  [
    "a job's token",
    { CLUSTER_CONNECT_ID_TOKEN: unsignedToken({ aud: "k8s", iat: IAT, exp: EXP }) },
    "CLUSTER_CONNECT_ID_TOKEN",
  ],
])(
  "%s that a fast clock takes for over is used; without the relay's word the error shows both times",
  async (_what, env, name) => {
    const named = { issuer: undefined, relayAudience: "https://relay.test", clusterAudience: "k8s" };
    const cluster = "CLUSTER_CONNECT_TOKEN" in env ? ({ kind: "text", text: token, where: name } as const) : undefined;
    const given = { named, cluster, relay: undefined };
    const home = await temporaryFolder();
    const info = { software: "relay/1", relayId: "r", login: null };
    const use = async (isThere: boolean) => {
      const { deps } = stage(5 * HOUR_MS, isThere);
      const answering: typeof fetch = async (input) =>
        String(input).endsWith("/healthz") ? await deps.fetch(input) : Response.json(info);
      const cli = testCli(home, { env, deps: { now: deps.now, fetch: answering } });
      return await chooseTokens(RELAY, given, cli.deps).token("cluster", { signal });
    };
    await expect(use(false)).rejects.toMatchObject({
      code: "CC_TOKEN_EXPIRED",
      message: `The token in ${name} expired at 2026-03-01T13:00:00.000Z; this machine's clock says 2026-03-01T17:00:00Z`,
    });
    expect((await use(true)).expiresAt).toEqual(new Date(EXP * 1_000 + 5 * HOUR_MS));
  },
);
