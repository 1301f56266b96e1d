import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import { parseInstanceId } from "@cluster-connect/protocol";
import { createMetrics } from "@cluster-connect/service";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { openNotifications } from "../../src/notify/cluster-webhook.ts";
import { describeStores } from "../support/stores.ts";

const RELAY = parseInstanceId("relay-000a");
const MESSAGES = 40;

describeStores((database) => {
  test("a message is sent once, however often the store is asked for messages meanwhile", async () => {
    const store = await database.open(await database.newPlace());
    const secretFile = join(await temporaryFolder(), "secret");
    await writeFile(secretFile, "s");
    const got: string[] = [];
    const server = createServer((request, response) => {
      got.push(String(request.headers["cluster-connect-delivery"]));
      notifications.poll();
      response.end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const address = server.address();
    const url = `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}`;
    const notifications = await openNotifications(
      { webhook: { url, secretFile } },
      {
        store,
        instanceId: RELAY,
        clock: SYSTEM_CLOCK,
        log: createMemoryLogger(),
        metrics: createMetrics({ service: "relay" }),
      },
    );
    const ids = Array.from({ length: MESSAGES }, (_, number) => `prod/${String(number).padStart(3, "0")}`);
    const at = new Date(0).toISOString();
    const rows = ids.map((id) => ({ id, relay_id: RELAY, body: "{}", at }));
    await store.db.insertInto("status_deliveries").values(rows).execute();
    const stop = new AbortController();
    const running = notifications.run({ signal: stop.signal });
    notifications.poll();
    await expect.poll(() => store.db.selectFrom("status_deliveries").selectAll().execute()).toEqual([]);
    stop.abort();
    await running;
    expect(got).toEqual(ids);
  });
});
