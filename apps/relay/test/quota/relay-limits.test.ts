import { dialWebSocket } from "@cluster-connect/framing/ws";
import { createInstanceId } from "@cluster-connect/service";
import { expect, test, vi } from "vitest";
import { LIMIT_SCHEMA } from "../../src/quota/limit-settings.ts";
import { ask } from "../support/admin.ts";
import {
  dialAgent,
  dialCli,
  enrollAgent,
  type Fixture,
  openRequest,
  opsToken,
  PROD,
  startFixture,
} from "../support/fixture.ts";

const limited = (limits: Readonly<Record<string, number>>): Promise<Fixture> =>
  startFixture({ config: { limits: LIMIT_SCHEMA.parse(limits) } });

async function connected(fixture: Fixture): Promise<void> {
  await (await dialAgent(fixture, await enrollAgent(fixture))).ready;
  await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
}

test("a caller's streams end at the limit, and one that ended makes room", async () => {
  const fixture = await limited({ streamsPerCaller: 2 });
  await connected(fixture);
  const session = await dialCli(fixture, await opsToken(fixture));
  const [first, second] = [session.open(openRequest()), session.open(openRequest())];
  await Promise.all([first.accepted, second.accepted]);
  const other = await dialCli(fixture, await opsToken(fixture));
  await expect(other.open(openRequest()).accepted).rejects.toMatchObject({ code: "CC_LIMIT_REACHED" });
  const another = await dialCli(fixture, await opsToken(fixture, { sub: "bob" }));
  await another.open(openRequest()).accepted;
  first.on("error", () => undefined);
  first.reset("CC_CANCELLED", "done");
  await vi.waitFor(() => other.open(openRequest()).accepted, { timeout: 30_000 });
});

test("a caller's sessions end at the limit with 429 and when to come again", async () => {
  const fixture = await limited({ sessionsPerCaller: 1 });
  const token = await opsToken(fixture);
  const session = await dialCli(fixture, token);
  await session.ready;
  await expect(dialCli(fixture, token)).rejects.toMatchObject({ code: "CC_LIMIT_REACHED", retryAfterMs: 1_000 });
  session.close();
  await vi.waitFor(async () => await (await dialCli(fixture, token)).ready, { timeout: 30_000 });
});

test("agents that prove nothing are limited, those that come at once are paced, both with 429 and when to come", async () => {
  const half = await limited({ handshakes: 2 });
  const dial = (fixture: Fixture) =>
    dialWebSocket(new URL("/v1/agent", fixture.url), { signal: AbortSignal.timeout(10_000) });
  const channels = [await dial(half), await dial(half)];
  await expect(dial(half)).rejects.toMatchObject({ code: "CC_LIMIT_REACHED", retryAfterMs: 1_000 });
  const [first] = channels;
  first?.close(1000, "");
  await vi.waitFor(async () => await dial(half), { timeout: 30_000 });

  const paced = await limited({ agentsPerSecond: 1 });
  await dial(paced);
  await dial(paced);
  const refused = await dial(paced).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: "CC_LIMIT_REACHED" });
});

test("a session is shown to administrators, and ends with a reason when one of them says so", async () => {
  const fixture = await limited({});
  await connected(fixture);
  const session = await dialCli(fixture, await opsToken(fixture));
  await session.ready;
  const stream = session.open(openRequest());
  await stream.accepted;
  stream.end("hello");
  for await (const _ of stream);
  const found = await vi.waitFor(
    async () => {
      const { body } = await ask(fixture, "GET", "/v1/admin/sessions?username=jane");
      const items = Array.isArray(body["items"]) ? body["items"] : [];
      expect(items).toMatchObject([
        {
          username: "jane",
          software: "cli/test",
          address: "127.0.0.1",
          clusters: { prod: { openStreams: 0, streams: 1, upBytes: 5, downBytes: 5 } },
        },
      ]);
      return items[0];
    },
    { timeout: 30_000 },
  );
  expect(await ask(fixture, "DELETE", `/v1/admin/sessions/${found.id}`)).toMatchObject({ status: 200 });
  expect(await session.closed).toMatchObject({ code: "CC_SESSION_ENDED" });
  await vi.waitFor(
    async () => {
      const { body } = await ask(fixture, "GET", "/v1/admin/sessions");
      expect(body["items"]).toEqual([]);
    },
    { timeout: 30_000 },
  );
  expect(await ask(fixture, "DELETE", `/v1/admin/sessions/${createInstanceId()}`)).toMatchObject({ status: 400 });
});

/** How often the entries say that something happened: one entry may stand for many. */
function sumOf(
  entries: ReadonlyArray<{ readonly event: string; readonly detail: { readonly count?: number } }>,
  event: string,
): number {
  return entries.filter((entry) => entry.event === event).reduce((total, { detail }) => total + (detail.count ?? 1), 0);
}

test("sessions and refusals are in the audit, a flood of refusals in one entry", async () => {
  const fixture = await limited({});
  await enrollAgent(fixture);
  const session = await dialCli(fixture, await opsToken(fixture));
  await session.ready;
  await Promise.all(Array.from({ length: 20 }, () => expect(session.open(openRequest()).accepted).rejects.toThrow()));
  session.close();
  await session.closed;
  await Promise.all(Array.from({ length: 10 }, () => expect(dialCli(fixture, "hunter2")).rejects.toThrow()));
  const entries = await vi.waitFor(
    async () => {
      const { body } = await ask(fixture, "GET", "/v1/admin/audit");
      const items = Array.isArray(body["items"]) ? body["items"] : [];
      expect(items.map(({ event }) => event)).toContain("session.end");
      expect([sumOf(items, "stream.refused"), sumOf(items, "session.refused")]).toEqual([20, 10]);
      return items;
    },
    { timeout: 30_000 },
  );
  const of = (event: string) => entries.filter((entry) => entry.event === event);
  expect(of("session.start")).toMatchObject([
    { actor: { username: "jane" }, detail: { address: "127.0.0.1", software: "cli/test" } },
  ]);
  expect(of("session.end")).toMatchObject([{ actor: { username: "jane" }, detail: { code: expect.any(String) } }]);
  expect(of("stream.refused").length + of("session.refused").length).toBeLessThan(15);
  expect(JSON.stringify(entries)).not.toContain("hunter2");
});
