import { expect, test } from "vitest";
import { ALICE, createFixture, OWN_TOKEN } from "./support/fixture.ts";
import { requestText, sendRaw } from "./support/raw-client.ts";
import { namesOf, valuesOf } from "./support/recording-upstream.ts";

test("a caller's request reaches the apiserver verbatim, as the caller, with our own credential", async () => {
  await using fixture = await createFixture();
  const { target, upstream, issuer } = fixture;
  const answer = await sendRaw(
    target,
    requestText("GET /api/v1/pods?limit=500&x=%2F..%2f HTTP/1.1", [
      "Host: localhost",
      `Authorization: Bearer ${await fixture.token()}`,
      "Accept: application/json;as=Table",
    ]),
    { address: [203, 0, 113, 7], sessionId: "session-1", correlationId: "0123456789abcdef" },
  );
  expect(answer).toMatchObject({ status: 200, body: expect.stringContaining("{}") });
  const [recorded] = upstream.requests;
  expect(recorded).toMatchObject({ method: "GET", target: "/api/v1/pods?limit=500&x=%2F..%2f" });
  expect(valuesOf(recorded, "authorization")).toEqual([`Bearer ${OWN_TOKEN}`]);
  expect(valuesOf(recorded, "impersonate-user")).toEqual([ALICE]);
  expect(valuesOf(recorded, "impersonate-uid")).toEqual(["alice"]);
  expect(valuesOf(recorded, "impersonate-group")).toEqual(["dev", "ops"]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fissuer")).toEqual([issuer.url]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fsubject")).toEqual(["alice"]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fcluster")).toEqual(["demo"]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fsession")).toEqual(["session-1"]);
  expect(valuesOf(recorded, "impersonate-extra-connect.example.org%2Fcorrelation-id")).toEqual(["0123456789abcdef"]);
  expect(valuesOf(recorded, "x-forwarded-for")).toEqual(["203.0.113.7"]);
  expect(valuesOf(recorded, "accept")).toEqual(["application/json;as=Table"]);
  expect(valuesOf(recorded, "audit-id")).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/)]);
  expect(namesOf(recorded)).not.toContain("connection");
});
