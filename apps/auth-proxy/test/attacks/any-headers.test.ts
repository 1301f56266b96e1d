import { toHeaderLines } from "@cluster-connect/auth";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { upstreamHeaders } from "../../src/admission/upstream-headers.ts";
import { createFixture, type Fixture, OWN_TOKEN } from "../support/fixture.ts";
import { requestText, sendRaw } from "../support/raw-client.ts";
import { assertOurIdentity } from "./harness.ts";

const STEMS = [
  "Impersonate-User",
  "Impersonate-Group",
  "Impersonate-Uid",
  "Impersonate-Extra-connect.example.org%2Fissuer",
  "Impersonate-Extra-x",
  "X-Remote-User",
  "X-Remote-Group",
  "X-Forwarded-For",
  "Forwarded",
  "X-Real-Ip",
  "Authorization",
  "Proxy-Authorization",
  "Cookie",
  "Audit-ID",
  "Connection",
  "Keep-Alive",
  "Proxy-Connection",
  "TE",
  "Trailer",
  "Upgrade",
  "Expect",
  "Sec-WebSocket-Protocol",
  "Content-Length",
  "Transfer-Encoding",
  "Host",
  "Accept",
  "X-Custom",
];
const VALUES = [
  "system:admin",
  "system:masters",
  "Bearer stolen",
  "100-continue",
  "trailers",
  "close",
  "",
  "base64url.bearer.authorization.k8s.io.eA",
  "\xc3\xa9",
];

const name = fc
  .tuple(fc.constantFrom(...STEMS), fc.constantFrom("as", "lower", "upper", "under"))
  .map(([stem, how]) => {
    if (how === "lower") return stem.toLowerCase();
    if (how === "upper") return stem.toUpperCase();
    return how === "under" ? stem.replaceAll("-", "_") : stem;
  });
const value = fc.oneof(
  fc.constantFrom(...VALUES),
  fc.array(fc.constantFrom(...STEMS), { minLength: 1, maxLength: 4 }).map((names) => names.join(", ")),
);
const lines = fc.array(fc.tuple(name, value), { maxLength: 12 });

test("no headers, however arranged, change who is calling", () => {
  fc.assert(
    fc.property(lines, (received) => {
      const rawHeaders = upstreamHeaders(received, {
        host: "apiserver",
        framing: { kind: "none" },
        method: "GET",
        auditId: "ours",
        token: OWN_TOKEN,
        acting: false,
        identity: {
          username: "alice@example.org",
          uid: "alice",
          groups: ["dev", "ops"],
          extra: { "connect.example.org/issuer": ["i"] },
        },
      });
      assertOurIdentity({ method: "GET", target: "/", rawHeaders, upgrade: false, body: "" });
      const sent = toHeaderLines(rawHeaders);
      const only = (wanted: string): readonly string[] =>
        sent.filter(([own]) => own.toLowerCase() === wanted).map(([, text]) => text);
      expect(only("audit-id")).toEqual(["ours"]);
      expect(only("host")).toEqual(["apiserver"]);
      expect(only("impersonate-extra-connect.example.org%2fissuer")).toEqual(["i"]);
      for (const removed of ["connection", "upgrade", "transfer-encoding", "content-length", "expect"]) {
        expect(only(removed)).toEqual([]);
      }
      expect([[], ["trailers"]]).toContainEqual(only("te"));
      expect(only("sec-websocket-protocol").join().toLowerCase()).not.toContain("base64url.bearer");
    }),
    { numRuns: 10_000 },
  );
});

let fixture: Fixture;
beforeAll(async () => {
  fixture = await createFixture();
});
afterAll(() => fixture?.[Symbol.asyncDispose]());

test("over real streams the apiserver sees exactly our identity or no request", async () => {
  const token = await fixture.token();
  let passed = 0;
  await fc.assert(
    fc.asyncProperty(lines, fc.boolean(), async (received, upgrade) => {
      fixture.upstream.requests.splice(0);
      const own = [
        "Host: a",
        `Authorization: Bearer ${token}`,
        ...(upgrade ? ["Connection: Upgrade", "Upgrade: websocket"] : []),
      ];
      const sent = received.map(([header, text]) => `${header}: ${text}`);
      const answer = await sendRaw(
        fixture.target,
        requestText("GET /api/v1/pods HTTP/1.1", [...own, ...sent, "X-End: 1"]),
      );
      expect(answer.status).toBeGreaterThan(0);
      expect(fixture.upstream.requests.length).toBeLessThanOrEqual(1);
      for (const recorded of fixture.upstream.requests) assertOurIdentity(recorded);
      passed += fixture.upstream.requests.length;
    }),
    { numRuns: 400 },
  );
  expect(passed).toBeGreaterThan(20);
});
