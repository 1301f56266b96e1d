import { afterEach, expect, test } from "vitest";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { type RawAnswer, requestText, sendRaw } from "../support/raw-client.ts";
import { namesOf, valuesOf } from "../support/recording-upstream.ts";

const REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";
const ROBOT = "system:serviceaccount:ns:robot";
const AUDIENCES = ["cluster-connect"];

let fixture: Fixture;
afterEach(() => fixture[Symbol.asyncDispose]());

async function start(status: object): Promise<void> {
  fixture = await createFixture({
    config: { tokenReview: { enabled: true, audiences: AUDIENCES } },
    prepare: (upstream) => {
      upstream.answer = (request, response) => {
        const review = request.url === REVIEWS;
        response.writeHead(review ? 201 : 200, { "Content-Type": "application/json" });
        response.end(review ? JSON.stringify({ status }) : "{}");
      };
    },
  });
}

const ACCEPTED = {
  authenticated: true,
  audiences: AUDIENCES,
  user: { username: ROBOT, uid: "u-1", groups: ["system:serviceaccounts", "system:serviceaccounts:ns"] },
};

/** A JWT of the cluster's own issuer, which no configured issuer signed. */
function clusterToken(changes: Readonly<Record<string, unknown>> = {}): string {
  const claims = {
    iss: "https://kubernetes.default.svc",
    sub: ROBOT,
    exp: Math.floor(Date.now() / 1_000) + 600,
    ...changes,
  };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "RS256" })}.${part(claims)}.c2ln`;
}

function send(token: string): Promise<RawAnswer> {
  const lines = ["Host: a", `Authorization: Bearer ${token}`];
  return sendRaw(fixture.target, requestText("GET /api/v1/pods HTTP/1.1", lines));
}
const reviews = (): Fixture["upstream"]["requests"] =>
  fixture.upstream.requests.filter(({ target }) => target === REVIEWS);

test("a ServiceAccount that the cluster accepts is passed on by its name and uid", async () => {
  await start(ACCEPTED);
  const token = clusterToken();
  expect((await send(token)).status).toBe(200);
  expect(JSON.parse(reviews()[0]?.body ?? "")).toMatchObject({ spec: { token, audiences: AUDIENCES } });
  const recorded = fixture.upstream.requests.find(({ target }) => target === "/api/v1/pods");
  expect(valuesOf(recorded, "impersonate-user")).toEqual([ROBOT]);
  expect(valuesOf(recorded, "impersonate-uid")).toEqual(["u-1"]);
  expect(namesOf(recorded)).not.toContain("impersonate-group");
});

test("a positive answer is kept for a moment, for this token alone", async () => {
  await start(ACCEPTED);
  const token = clusterToken();
  await send(token);
  await send(token);
  expect(reviews()).toHaveLength(1);
  await send(clusterToken({ jti: "other" }));
  expect(reviews()).toHaveLength(2);
});

test.each([
  ["not authenticated", { authenticated: false, error: "no" }, 401, "CC_TOKEN_INVALID"],
  ["for another audience", { ...ACCEPTED, audiences: ["other"] }, 401, "CC_TOKEN_AUDIENCE"],
  ["without an audience", { ...ACCEPTED, audiences: undefined }, 401, "CC_TOKEN_AUDIENCE"],
  ["no ServiceAccount", { ...ACCEPTED, user: { username: "system:admin" } }, 403, "CC_IDENTITY_REFUSED"],
])("a token that is %s is refused, and not asked about again for a moment", async (_what, status, code, word) => {
  await start(status);
  const token = clusterToken();
  for (const _ of [1, 2]) {
    const answer = await send(token);
    expect(answer.status).toBe(code);
    expect(answer.body).toContain(word);
  }
  expect(reviews()).toHaveLength(1);
});

test("requests that come at once with the same token share one review", async () => {
  await start(ACCEPTED);
  const token = clusterToken();
  const answers = await Promise.all(Array.from({ length: 100 }, () => send(token)));
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 100 }, () => 200));
  expect(reviews()).toHaveLength(1);
});

test("a token without an end is refused even when the cluster accepts it", async () => {
  await start(ACCEPTED);
  expect((await send(clusterToken({ exp: undefined }))).status).toBe(401);
});

test("a token of a configured issuer that is broken is refused at once and not tried at the cluster", async () => {
  await start(ACCEPTED);
  const token = await fixture.token({ exp: 1 });
  const answer = await send(token);
  expect(answer.status).toBe(401);
  expect(answer.body).toContain("CC_TOKEN_EXPIRED");
  expect(reviews()).toEqual([]);
});

test("a token that is none at all is not tried at the cluster", async () => {
  await start(ACCEPTED);
  expect((await send("opaque")).status).toBe(401);
  expect(reviews()).toEqual([]);
});
