import { ConnectError, type ErrorCode } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { MAX_SKEW_MS } from "../../../src/relay/clock-skew.ts";
import type { CallerTokens } from "../../../src/tokens/caller-tokens.ts";
import { openTokenCache } from "../../../src/tokens/choose-tokens.ts";
import type { LoginRecord } from "../../../src/tokens/login/login-record.ts";
import { createLoginTokens } from "../../../src/tokens/login/login-tokens.ts";
import { dueAt, urgentAt } from "../../../src/tokens/stored-token.ts";
import type { TokenCache } from "../../../src/tokens/vault/token-cache.ts";

const RELAY = "https://relay.test";
const CLUSTER = "https://cluster.test";
const KEY = "login";
const HOUR_MS = 3_600_000;
const GOT = new Date(1_900_000_000_000);
const END = new Date(GOT.getTime() + HOUR_MS);
const DUE = dueAt(END, GOT).getTime();
const { signal } = new AbortController();

interface Stage {
  readonly tokens: CallerTokens;
  readonly cache: TokenCache;
  /** `now` in milliseconds; the issuer fails with `failure`, and does not answer until `held` is done. */
  readonly state: { now: number; failure: ErrorCode | undefined; held: Promise<void> };
  /** When the issuer was asked. */
  readonly asked: number[];
  /** How long each renewal waits for the lock, milliseconds; undefined for as long as a renewal takes. */
  readonly waits: (number | undefined)[];
}

/** A login with a token for the clusters that lives for an hour from GOT on. */
async function stage(): Promise<Stage> {
  const home = await temporaryFolder();
  const cache = openTokenCache({ env: {}, homeDir: home, openKeyStore: async () => undefined });
  const record: LoginRecord = {
    relay: RELAY,
    settings: {
      issuer: "https://issuer.test",
      clientId: "cli",
      scopes: [],
      audiences: { relay: RELAY, cluster: CLUSTER },
      resourceParameter: "resource",
    },
    name: "jane",
    refreshToken: "refresh",
    tokens: { [CLUSTER]: { token: "first", expiresAt: END, obtainedAt: GOT } },
  };
  await cache.put(KEY, { signal }, record);
  const state: Stage["state"] = { now: GOT.getTime(), failure: undefined, held: Promise.resolve() };
  const asked: number[] = [];
  const waits: (number | undefined)[] = [];
  const watched: TokenCache = {
    ...cache,
    update: async (key, options, change) => {
      waits.push(options.waitMs);
      return await cache.update(key, options, change);
    },
  };
  const tokens = createLoginTokens(
    KEY,
    RELAY,
    watched,
    async (current, audience) => {
      asked.push(state.now);
      await state.held;
      if (state.failure !== undefined) throw new ConnectError(state.failure, "the issuer said no");
      const obtainedAt = new Date(state.now);
      const kept = { token: `renewed ${asked.length}`, expiresAt: new Date(state.now + HOUR_MS), obtainedAt };
      return { ...current, tokens: { ...current.tokens, [audience]: kept } };
    },
    { now: () => state.now },
  );
  return { tokens, cache, state, asked, waits };
}

test("a token is handed out until it is due, and renewed from then on", async () => {
  const { tokens, state, asked } = await stage();
  state.now = DUE - 1;
  expect((await tokens.token("cluster", { signal })).token).toBe("first");
  expect(asked).toEqual([]);
  state.now = DUE;
  expect((await tokens.token("cluster", { signal })).token).toBe("renewed 1");
  expect((await tokens.token("cluster", { signal })).token).toBe("renewed 1");
  expect(asked).toEqual([DUE]);
});

test("a token that was got by a clock that was ahead is renewed at once when the clock is right again", async () => {
  const { tokens, state, asked } = await stage();
  state.now = GOT.getTime() - MAX_SKEW_MS;
  expect((await tokens.token("cluster", { signal })).token).toBe("first");
  state.now -= 1;
  expect((await tokens.token("cluster", { signal })).token).toBe("renewed 1");
  expect((await tokens.token("cluster", { signal })).token).toBe("renewed 1");
  expect(asked).toEqual([state.now]);
});

test("while the issuer is away that token still serves", async () => {
  const { tokens, state } = await stage();
  state.now = GOT.getTime() - 5 * HOUR_MS;
  state.failure = "CC_ISSUER_UNREACHABLE";
  expect(await tokens.token("cluster", { signal })).toMatchObject({ token: "first", failure: { code: state.failure } });
});

test.each<ErrorCode>(["CC_ISSUER_UNREACHABLE", "CC_NOT_LOGGED_IN", "CC_LOGIN_FAILED", "CC_TLS_UNTRUSTED"])(
  "a renewal that fails with %s leaves the old token until its end, with the failure beside it",
  async (code) => {
    const { tokens, state } = await stage();
    state.failure = code;
    state.now = DUE;
    const kept = await tokens.token("cluster", { signal });
    expect(kept).toMatchObject({ token: "first", expiresAt: END, failure: { code } });
    state.now = END.getTime() - 1;
    expect((await tokens.token("cluster", { signal })).token).toBe("first");
    state.now = END.getTime();
    await expect(tokens.token("cluster", { signal })).rejects.toMatchObject({ code });
  },
);

test("after a failure the issuer is left alone for a tenth of what is left, five minutes at most", async () => {
  const { tokens, state, asked } = await stage();
  state.failure = "CC_NOT_LOGGED_IN";
  state.now = END.getTime() - 1_000_000;
  await tokens.token("cluster", { signal });
  state.now += 99_999;
  expect(await tokens.token("cluster", { signal })).not.toHaveProperty("failure");
  expect(asked).toHaveLength(1);
  state.now += 1;
  state.failure = undefined;
  expect((await tokens.token("cluster", { signal })).token).toBe("renewed 2");
});

test("a clock that was set back does not make an issuer rest for longer", async () => {
  const { tokens, state, asked } = await stage();
  state.failure = "CC_ISSUER_UNREACHABLE";
  state.now = END.getTime() - 1_000_000;
  await tokens.token("cluster", { signal });
  state.now -= 1;
  await tokens.token("cluster", { signal });
  expect(asked).toHaveLength(2);
});

/** Another process is at the login until it lets go. */
async function holdLogin(cache: Stage["cache"]): Promise<() => Promise<void>> {
  const release = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const other = cache.update(KEY, { signal }, async (current) => {
    held.resolve();
    await release.promise;
    if (current === undefined) throw new Error("no login");
    return current;
  });
  await held.promise;
  return async () => {
    release.resolve();
    await other;
  };
}

test("while another process renews a token that is good for long, the old one is handed out at once", async () => {
  const { tokens, cache, state, asked, waits } = await stage();
  const letGo = await holdLogin(cache);
  state.now = urgentAt(END, GOT).getTime() - 1;
  expect(await tokens.token("cluster", { signal })).toMatchObject({ token: "first", failure: { code: "CC_TIMEOUT" } });
  expect(asked).toEqual([]);
  state.now += 1;
  const urgent = tokens.token("cluster", { signal });
  await letGo();
  expect((await urgent).token).toBe("renewed 1");
  expect(waits).toEqual([0, undefined]);
});

test("many callers at once make one renewal", async () => {
  const { tokens, state, asked } = await stage();
  state.now = urgentAt(END, GOT).getTime();
  const got = await Promise.all(Array.from({ length: 20 }, () => tokens.token("cluster", { signal })));
  expect(got.map(({ token, failure }) => ({ token, failure }))).toEqual(
    Array.from({ length: 20 }, () => ({ token: "renewed 1", failure: undefined })),
  );
  expect(asked).toHaveLength(1);
});

test("a login that was ended meanwhile gives nothing, however long its token would live", async () => {
  const { tokens, cache, state } = await stage();
  const letGo = await holdLogin(cache);
  state.now = urgentAt(END, GOT).getTime();
  const asking = tokens.token("cluster", { signal });
  const refused = expect(asking).rejects.toMatchObject({ code: "CC_NOT_LOGGED_IN" });
  await cache.remove(KEY, { signal });
  await letGo();
  await refused;
});

test("a caller that gives up gets its own reason, not the old token", async () => {
  const { tokens, state } = await stage();
  const own = new AbortController();
  const release = Promise.withResolvers<void>();
  state.held = release.promise;
  state.failure = "CC_ISSUER_UNREACHABLE";
  state.now = DUE;
  const asking = tokens.token("cluster", { signal: own.signal });
  own.abort(new ConnectError("CC_CANCELLED", "enough"));
  release.resolve();
  await expect(asking).rejects.toMatchObject({ code: "CC_CANCELLED" });
});
