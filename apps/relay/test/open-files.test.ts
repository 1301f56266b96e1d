import { once } from "node:events";
import { type IncomingMessage, type OutgoingHttpHeaders, request } from "node:http";
import { json } from "node:stream/consumers";
import { SUBPROTOCOL } from "@cluster-connect/protocol";
import { nearFileLimit } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import {
  dialAgent,
  dialCli,
  enrollAgent,
  type Fixture,
  openRequest,
  opsToken,
  startFixture,
} from "./support/fixture.ts";

/** Asks on a connection of its own. */
async function ask(fixture: Fixture, path: string, headers: OutgoingHttpHeaders = {}): Promise<IncomingMessage> {
  const [response] = await once(request(new URL(path, fixture.url), { headers, agent: false }).end(), "response");
  return response;
}

async function refusedUpgrade(fixture: Fixture, path: string): Promise<unknown> {
  const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-protocol": SUBPROTOCOL };
  return await json(await ask(fixture, path, headers));
}

test("at its limit of open files a relay refuses new requests and channels with a code, and streams go on", async () => {
  await using files = await nearFileLimit();
  const fixture = await startFixture({ openFileLimit: () => files.limit });
  await (await dialAgent(fixture, await enrollAgent(fixture))).ready;
  const token = await opsToken(fixture);
  const session = await dialCli(fixture, token);
  await session.ready;
  const stream = session.open(openRequest());
  stream.write("before");
  expect(String((await once(stream, "data"))[0])).toBe("before");
  await files.take();

  const answer = await ask(fixture, "/v1/clusters", { authorization: `Bearer ${token}` });
  expect(answer.statusCode).toBe(429);
  expect(answer.headers).toMatchObject({ "retry-after": "1", connection: "close" });
  expect(await json(answer)).toMatchObject({ code: "CC_LIMIT_REACHED", hint: expect.stringContaining("ulimit -n") });
  for (const path of ["/v1/agent", "/v1/connect"]) {
    expect(await refusedUpgrade(fixture, path)).toMatchObject({ code: "CC_LIMIT_REACHED" });
  }
  // A probe that fails would end the process, and its streams with it.
  for (const path of ["/healthz", "/readyz"]) expect((await ask(fixture, path)).resume().statusCode).toBe(200);
  stream.write("after");
  expect(String((await once(stream, "data"))[0])).toBe("after");
  stream.destroy();
});
