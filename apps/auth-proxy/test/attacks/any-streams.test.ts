import { once } from "node:events";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createFixture, type Fixture } from "../support/fixture.ts";
import { openStream, requestText } from "../support/raw-client.ts";
import { valuesOf } from "../support/recording-upstream.ts";
import { assertOurIdentity, type Identity } from "./harness.ts";

const STREAMS = 10_000;
const STREAMS_PER_RUN = 500;
/** One that waits for its silence holds up none of the others. */
const AT_ONCE = 100;
/** A stream on which nothing comes back for so long waits for bytes that never come. */
const SILENCE_MS = 300;
/** Ends a stream's open requests when nothing more comes; a refusal ends it sooner. */
const END = "GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

const CALLERS = {
  alice: { username: "alice@example.org", uid: "alice", groups: ["dev", "ops"] },
  bob: { username: "bob@example.org", uid: "bob", groups: ["guests"] },
} as const satisfies Readonly<Record<string, Identity>>;
/** Names the request that a line came with. */
const MARK = "X-Request";

let fixture: Fixture;
let alice: string;
let bob: string;
let other: string;
beforeAll(async () => {
  fixture = await createFixture();
  [alice, bob, other] = await Promise.all([
    fixture.token(),
    fixture.token({ sub: "bob", email: CALLERS.bob.username, groups: CALLERS.bob.groups }),
    fixture.token({ aud: "other", email: "eve@example.org" }),
  ]);
});
afterAll(() => fixture?.[Symbol.asyncDispose]());

/** One good choice most of the time, so that a request with one fault or two gets far. */
const mostly = (usual: string, ...others: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(usual, ...others) });

const header = fc.constantFrom(
  "Impersonate-User: system:admin",
  "impersonate-group: system:masters",
  "IMPERSONATE_UID: 0",
  "X-Remote-User: root",
  "X_Remote_Group: system:masters",
  "X-Forwarded-User: root",
  "Connection: Impersonate-User, Authorization",
  "Connection: close",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: gzip, chunked",
  "Content-Length: 0",
  "Content-Length: 5",
  "Content-Length: 5, 5",
  "Expect: 100-continue",
  "Trailer: Impersonate-User",
  "Cookie: token=x",
  "__proto__: x",
  "X-A: \xff\xfe",
  "Audit-ID: theirs",
  "no colon",
  " folded: x",
);
const credential = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("alice", "bob") },
  { weight: 1, arbitrary: fc.constantFrom("other", "none", "twice") },
);
const body = mostly(
  "",
  "hello",
  "5\r\nhello\r\n0\r\n\r\n",
  "5\r\nhello\r\n0\r\nImpersonate-User: admin\r\n\r\n",
  "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\nImpersonate-User: system:admin\r\n\r\n",
  "zz\r\n",
  "\x00\x01\x02",
);
const request = fc.record({
  method: mostly("GET", "POST", "DELETE", "HEAD", "CONNECT", "get", "TRACE"),
  target: mostly("/api/v1/pods", "/api/v1/pods?watch=1", "//api", "http://x/api", "/a#b", "*", "/%2e%2e/"),
  version: mostly("HTTP/1.1", "HTTP/1.0", "HTTP/2.0"),
  credential,
  headers: fc.oneof(fc.constant<string[]>([]), fc.array(header, { minLength: 1, maxLength: 4 })),
  body,
});
const stream = fc.array(request, { minLength: 1, maxLength: 3 });
type AnyRequest = typeof request extends fc.Arbitrary<infer T> ? T : never;

/** The caller of each request by its mark; undefined where its credential lets it go no further. */
type Senders = Map<string, Identity | undefined>;

function textOf({ method, target, version, credential: which, headers, body: rest }: AnyRequest, mark: string): string {
  const tokens = { alice: [alice], bob: [bob], other: [other], none: [], twice: [alice, bob] }[which] ?? [];
  const own = ["Host: a", `${MARK}: ${mark}`, ...tokens.map((token) => `Authorization: Bearer ${token}`)];
  return requestText(`${method} ${target} ${version}`, [...own, ...headers], rest);
}

/** Sends all of it, and reads until the other side closes or says nothing more. */
async function play(requests: readonly AnyRequest[], senders: Senders): Promise<void> {
  const texts = requests.map((one) => {
    const mark = String(senders.size);
    senders.set(mark, one.credential === "alice" || one.credential === "bob" ? CALLERS[one.credential] : undefined);
    return textOf(one, mark);
  });
  const client = await openStream(fixture.target);
  client.setTimeout(SILENCE_MS, () => client.destroy());
  client.resume().write(texts.join("") + END, "latin1");
  if (!client.closed) await once(client, "close");
}

/** Plays a few streams at once until all are over. @returns who sent what. */
async function playAll(streams: readonly (readonly AnyRequest[])[]): Promise<Senders> {
  const senders: Senders = new Map();
  const left = streams.values();
  const lane = async (): Promise<void> => {
    for (const one of left) await play(one, senders);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  await expect.poll(() => fixture.app.counts()).toEqual({ streams: 0, underWay: 0 });
  return senders;
}

test("10,000 streams of whatever requests bring the apiserver one identity, the token's, and a line in the log each", {
  timeout: 1_200_000,
}, async () => {
  const seen = { alice: 0, bob: 0, streams: 0 };
  const anyStreams = fc.array(stream, { minLength: STREAMS_PER_RUN, maxLength: STREAMS_PER_RUN });
  await fc.assert(
    fc.asyncProperty(anyStreams, async (streams) => {
      fixture.upstream.requests.splice(0);
      const from = fixture.log.lines.length;
      const senders = await playAll(streams);
      const reached = fixture.upstream.requests.map((recorded) => {
        const sender = senders.get(valuesOf(recorded, MARK).join());
        if (sender === undefined) return expect.fail("a request without a good token of its own reached the apiserver");
        assertOurIdentity(recorded, sender);
        seen[sender.uid === "bob" ? "bob" : "alice"] += 1;
        return { auditId: valuesOf(recorded, "audit-id").join(), username: sender.username };
      });
      const lines = (): Fixture["log"]["lines"] =>
        fixture.log.lines.slice(from).filter(({ event }) => event === "request");
      const allowed = (): readonly unknown[] => lines().filter(({ decision }) => decision === "allowed");
      const sent = new Set(reached.map(({ auditId }) => auditId));
      await expect.poll(() => allowed().length).toBeGreaterThanOrEqual(sent.size);
      const byId = new Map(lines().map((line) => [line["auditId"], line]));
      expect(byId.size).toBe(lines().length);
      for (const { auditId, username } of reached)
        expect(byId.get(auditId)).toMatchObject({ username, decision: "allowed" });
      seen.streams += streams.length;
    }),
    { numRuns: STREAMS / STREAMS_PER_RUN, endOnFailure: true },
  );
  expect(seen.streams).toBe(STREAMS);
  expect(Math.min(seen.alice, seen.bob)).toBeGreaterThan(STREAMS / 50);
});
