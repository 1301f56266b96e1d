import { expect, test } from "vitest";
import { TOKEN_REVIEWS, TOKEN_REVIEWS_PER_CALLER } from "../../src/limits/limits.ts";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { requestText, sendRaw } from "../support/raw-client.ts";

const REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";
const GOOD = "system:serviceaccount:ns:good";
const INVENTED = 1_200;
const LANES = 150;

/** A token that only the cluster can judge. */
function clusterToken(sub: string): string {
  const claims = { iss: "https://kubernetes.default.svc", sub, exp: Math.floor(Date.now() / 1_000) + 600 };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "RS256" })}.${part(claims)}.c2ln`;
}

/** A cluster that takes its time over each review, and how many it had at once at the most. */
async function start(reviewMs: number): Promise<{ readonly fixture: Fixture; readonly most: () => number }> {
  let underWay = 0;
  let most = 0;
  const fixture = await createFixture({ config: { tokenReview: { enabled: true, audiences: [] } } });
  const usualAnswer = fixture.upstream.answer;
  fixture.upstream.answer = (request, response, body) => {
    if (request.url !== REVIEWS) return usualAnswer(request, response, body);
    underWay += 1;
    most = Math.max(most, underWay);
    const token: string = JSON.parse(body).spec.token;
    const good = Buffer.from(token.split(".")[1] ?? "", "base64url").includes(GOOD);
    setTimeout(() => {
      underWay -= 1;
      const status = good ? { authenticated: true, user: { username: GOOD } } : { authenticated: false };
      response.writeHead(201, { "Content-Type": "application/json" }).end(JSON.stringify({ status }));
    }, reviewMs);
  };
  return { fixture, most: () => most };
}

async function ask(fixture: Fixture, token: string, username: string): Promise<number> {
  const text = requestText("GET /api HTTP/1.1", ["Host: a", `Authorization: Bearer ${token}`]);
  return (await sendRaw(fixture.target, text, { username, sessionId: `session-${username}` })).status;
}

test("1,200 invented tokens cost a good caller nothing, whoever vouches for them", { timeout: 300_000 }, async () => {
  const { fixture, most } = await start(50);
  await using _ = fixture;
  // As many handshakes as one process can do in the time that each has.
  const attackers = Array.from({ length: LANES }, async (_unused, lane) => {
    const statuses: number[] = [];
    for (let index = lane; index < INVENTED; index += LANES) {
      statuses.push(await ask(fixture, clusterToken(`invented-${index}`), "eve"));
    }
    return statuses;
  });
  const token = await fixture.token();
  for (let round = 0; round < 20; round += 1) {
    expect(await ask(fixture, token, "eve")).toBe(200);
    expect(await ask(fixture, clusterToken(GOOD), "ann")).toBe(200);
  }
  const statuses = (await Promise.all(attackers)).flat();
  expect(statuses).toHaveLength(INVENTED);
  expect(statuses.filter((status) => status !== 401 && status !== 429)).toEqual([]);
  expect(most()).toBeLessThanOrEqual(TOKEN_REVIEWS_PER_CALLER + 1);
  expect(fixture.upstream.requests.filter(({ target }) => target === "/api")).toHaveLength(40);
});

test("no more reviews are under way at once than may be, whoever asks", async () => {
  const { fixture, most } = await start(1_000);
  await using _ = fixture;
  const callers = ["a", "b", "c", "d", "e"];
  await Promise.all(
    callers.flatMap((caller) =>
      Array.from({ length: 12 }, (_unused, index) => ask(fixture, clusterToken(`${caller}-${index}`), caller)),
    ),
  );
  expect(most()).toBe(TOKEN_REVIEWS);
});
