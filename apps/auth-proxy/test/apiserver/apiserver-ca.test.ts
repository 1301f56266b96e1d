import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadAuthority } from "../../src/certificates/authority.ts";
import { createFixture } from "../support/fixture.ts";
import { requestText, sendRaw } from "../support/raw-client.ts";
import { startRecordingUpstream } from "../support/recording-upstream.ts";

test("an apiserver whose authority was replaced is trusted by the file's new content, without a dropped request", async () => {
  await using fixture = await createFixture();
  const { port } = new URL(fixture.upstream.url);
  await fixture.upstream[Symbol.asyncDispose]();
  const options = { clusterId: "new", seconds: 3_600, now: new Date() };
  const other = await loadAuthority(join(fixture.folder, "other"), options);
  const identity = await other.issue(["127.0.0.1"], { seconds: 3_600, now: new Date() });
  await using upstream = await startRecordingUpstream(identity, Number(port));
  await writeFile(join(fixture.folder, "ca.crt"), other.certPem);
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`, "Content-Length: 2"];
  const answer = await sendRaw(fixture.target, requestText("POST /api/v1/namespaces/a/pods HTTP/1.1", lines, "{}"));
  expect(answer.status).toBe(200);
  expect(upstream.requests).toHaveLength(1);
  expect(upstream.requests[0]?.body).toBe("{}");
});

test("an apiserver of an unknown authority gets nothing", async () => {
  await using fixture = await createFixture();
  const options = { clusterId: "new", seconds: 3_600, now: new Date() };
  const { port } = new URL(fixture.upstream.url);
  await fixture.upstream[Symbol.asyncDispose]();
  const other = await loadAuthority(join(fixture.folder, "other"), options);
  const identity = await other.issue(["127.0.0.1"], { seconds: 3_600, now: new Date() });
  await using upstream = await startRecordingUpstream(identity, Number(port));
  const lines = ["Host: a", `Authorization: Bearer ${await fixture.token()}`];
  const answer = await sendRaw(fixture.target, requestText("GET /api HTTP/1.1", lines));
  expect(answer.status).toBe(503);
  expect(upstream.requests).toEqual([]);
});
