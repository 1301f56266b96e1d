import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { parseClusterId } from "@cluster-connect/protocol";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, test, vi } from "vitest";
import { createStreamsUnderWay } from "../../src/callers/streams-under-way.ts";
import { compileGrant } from "../../src/grants/grant.ts";
import { openGrantBook, type StoredGrants } from "../../src/grants/grant-book.ts";

const PROD = parseClusterId("prod");
const JANE = {
  issuer: "https://issuer.test",
  subject: "jane",
  username: "jane",
  groups: [],
  extra: {},
  claims: {},
  expiresAt: new Date("2100-01-01T00:00:00Z"),
};
const GRANTED: StoredGrants = {
  grants: [compileGrant("api/1", "api", { clusters: ["prod"], users: ["jane"] })],
  labels: new Map(),
  problems: [],
};

async function stage() {
  const stored = { now: GRANTED };
  const deps = { clock: SYSTEM_CLOCK, log: createMemoryLogger() };
  const grants = await openGrantBook({ config: [], rows: () => Promise.resolve(stored.now) }, deps);
  await grants.refresh();
  const streams = createStreamsUnderWay({ ...deps, grants });
  const reset = vi.fn();
  const opened = (version: number) => ({
    clusterId: PROD,
    upstream: "kubernetes",
    principal: JANE,
    version,
    forward: { done: new Promise<never>(() => undefined), reset },
  });
  const sweepOnce = async (): Promise<void> => {
    const stop = new AbortController();
    const watching = streams.watch({ signal: stop.signal });
    stop.abort();
    await watching;
  };
  return { stored, grants, streams, reset, opened, sweepOnce };
}

test("a grant that ends while a stream's way is looked for ends the stream, though the sweep was before it", async () => {
  const { stored, grants, streams, reset, opened, sweepOnce } = await stage();
  const { version } = grants;
  expect(grants.decide(JANE, PROD, "kubernetes").allowed).toBe(true);
  stored.now = { grants: [], labels: new Map(), problems: [] };
  await grants.refresh();
  await sweepOnce();
  streams.add(opened(version));
  await sweepOnce();
  expect(reset).toHaveBeenCalledExactlyOnceWith("CC_GRANT_MISSING", expect.stringContaining("has ended"));
});

test("another change of the grants meanwhile leaves the stream alone", async () => {
  const { stored, grants, streams, reset, opened, sweepOnce } = await stage();
  const { version } = grants;
  const other = compileGrant("api/2", "api", { clusters: ["test"], users: ["joe"] });
  stored.now = { ...GRANTED, grants: [...GRANTED.grants, other] };
  await grants.refresh();
  streams.add(opened(version));
  await sweepOnce();
  expect(streams.size).toBe(1);
  expect(reset).not.toHaveBeenCalled();
});
