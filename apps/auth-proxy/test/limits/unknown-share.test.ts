import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { expect, onTestFinished, test } from "vitest";
import { createAdmit } from "../../src/admission/admit.ts";
import { DEFAULT_LIMITS, UNKNOWN, UNKNOWN_PER_CALLER } from "../../src/limits/limits.ts";
import { createQuotas } from "../../src/limits/quotas.ts";

const PRINCIPAL = {
  issuer: "https://issuer.test",
  subject: "ann",
  username: "ann",
  groups: [],
  extra: {},
  claims: {},
  expiresAt: new Date("2100-01-01T00:00:00Z"),
};

/** An issuer whose keys do not come: each token but the good one waits for them. */
function stage() {
  const quotas = createQuotas(DEFAULT_LIMITS, { memory: () => ({ usedBytes: 0, limitBytes: 0 }) });
  const ended = new AbortController();
  onTestFinished(() => ended.abort());
  const admit = createAdmit({
    clock: SYSTEM_CLOCK,
    quotas,
    rules: { mode: "legacy", extraDomain: "x.test", extraKeys: [], clusterId: "prod", issuers: {} },
    authenticate: async (token, { signal }) => {
      if (token === "good") return { principal: PRINCIPAL, by: "issuer", fault: () => undefined };
      return await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    },
  });
  /** @returns the code of the refusal, "admitted", or "waits". */
  const ask = async (token: string, username: string): Promise<string> => {
    const lines = [
      ["Host", "a"],
      ["Authorization", `Bearer ${token}`],
    ] as const;
    const head = { method: "GET", target: "/api", httpVersion: "1.1", lines };
    const origin = { username };
    const record = {
      auditId: "1",
      startedAt: 0,
      origin,
      info: { verb: "get", path: "/api", long: false, watch: false },
      allowed: false,
      bytes: 0,
    };
    const outcome = admit({ head, origin, kind: "short" }, record, { signal: ended.signal }).then(
      () => "admitted",
      (error: unknown) => (error instanceof ConnectError ? error.code : String(error)),
    );
    return await Promise.race([outcome, new Promise<string>((resolve) => void setImmediate(resolve, "waits"))]);
  };
  const hold = async (count: number, username: string): Promise<readonly string[]> =>
    await Promise.all(Array.from({ length: count }, () => ask("invented", username)));
  return { quotas, ask, hold };
}

test("one caller of the relay has so many tokens in question at once, and one more is refused", async () => {
  const { ask, hold, quotas } = stage();
  expect(new Set(await hold(UNKNOWN_PER_CALLER, "eve"))).toEqual(new Set(["waits"]));
  expect(await ask("invented", "eve")).toBe("CC_LIMIT_REACHED");
  expect(quotas.short.size()).toBe(0);
  expect(await ask("good", "ann")).toBe("admitted");
});

test("all callers together have so many, and one more is refused, but no place of a known caller is taken", async () => {
  const { ask, hold, quotas } = stage();
  const callers = Array.from({ length: Math.ceil(UNKNOWN / UNKNOWN_PER_CALLER) }, (_, index) => `eve-${index}`);
  let left = UNKNOWN;
  for (const caller of callers) {
    const count = Math.min(left, UNKNOWN_PER_CALLER);
    expect(new Set(await hold(count, caller))).toEqual(new Set(["waits"]));
    left -= count;
  }
  expect(quotas.unknown.size()).toBe(UNKNOWN);
  expect(quotas.short.size()).toBe(0);
  expect(await ask("invented", "mallory")).toBe("CC_LIMIT_REACHED");
});
