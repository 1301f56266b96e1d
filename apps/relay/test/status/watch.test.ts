import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { dialAgent, enrollAgent, opsToken } from "../support/fixture.ts";
import { startFleet } from "../support/fleet.ts";

test("each change at any of two relays is told once, by webhook and to listeners at both, with the same id", async () => {
  const told: { readonly id: string; readonly status: string; readonly header: string }[] = [];
  const endpoint = createServer(async (request, response) => {
    told.push({ ...JSON.parse(await text(request)), header: String(request.headers["cluster-connect-delivery"]) });
    response.end();
  }).listen(0, "127.0.0.1");
  await once(endpoint, "listening");
  onTestFinished(() => void endpoint.close());
  const address = endpoint.address();
  const url = `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
  const secretFile = join(await temporaryFolder(), "secret");
  await writeFile(secretFile, "s");
  const [a, b] = await startFleet(2, { config: { webhook: { url, secretFile } } });
  if (a === undefined || b === undefined) throw new Error("two relays were asked for");

  const stop = new AbortController();
  const streams = await Promise.all(
    [a, b].map(async (relay) =>
      fetch(new URL("/v1/admin/events", relay.url), {
        headers: { authorization: `Bearer ${await opsToken(relay, { sub: "root" })}` },
        signal: stop.signal,
      }),
    ),
  );
  const agent = await enrollAgent(a);
  await (await dialAgent(a, agent)).ready;
  await (await dialAgent(b, agent)).ready;
  const heard = await Promise.all(
    streams.map(async ({ body }) => {
      let all = "";
      for await (const chunk of body ?? []) {
        all += Buffer.from(chunk).toString();
        const line = all.split("\n\n").find((event) => event.includes('"connected"'));
        if (line !== undefined) return /^id: (\S+)$/m.exec(line)?.[1];
      }
      return undefined;
    }),
  );
  stop.abort();
  await expect.poll(() => told.at(-1)?.status).toBe("connected");
  expect(new Set(heard)).toEqual(new Set([told.at(-1)?.id]));
  const first = Number(told[0]?.id.slice("prod/".length));
  expect(told.map(({ header }) => header)).toEqual(told.map((_, index) => `prod/${first + index}`));
  expect(told.map(({ id }) => id)).toEqual(told.map(({ header }) => header));
  await expect.poll(() => a.store.db.selectFrom("status_deliveries").selectAll().execute()).toEqual([]);
});
