import { nearFileLimit } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { unreachable } from "../../src/apiserver/answer.ts";
import { createFixture } from "../support/fixture.ts";
import { openStream, readAnswer, requestText, sendRaw } from "../support/raw-client.ts";

test("at its limit of open files an auth proxy refuses new streams with a code, and those that are there are served", async () => {
  await using files = await nearFileLimit();
  await using fixture = await createFixture({ openFileLimit: () => files.limit });
  const headers = ["Host: cluster", `Authorization: Bearer ${await fixture.token()}`];
  const text = requestText("GET /version HTTP/1.1", headers);
  const there = await openStream(fixture.target);
  await files.take();
  const refused = await sendRaw(fixture.target, text);
  expect(refused.status).toBe(429);
  expect(refused.body).toContain("CC_LIMIT_REACHED");
  expect(refused.body).toContain("as many open files as it may");
  there.write(text);
  expect((await readAnswer(there)).status).toBe(200);
  there.destroy();
});

test("a stream to the apiserver that finds no file left is told as a limit, not as an apiserver that is away", () => {
  const cause = Object.assign(new Error("no file"), { code: "EMFILE" });
  expect(unreachable(cause)).toMatchObject({
    code: "CC_LIMIT_REACHED",
    message: "The auth proxy has as many open files as it may",
    cause,
  });
  expect(unreachable(Object.assign(new Error("gone"), { code: "ECONNREFUSED" }))).toMatchObject({
    code: "CC_APISERVER_UNREACHABLE",
  });
});
