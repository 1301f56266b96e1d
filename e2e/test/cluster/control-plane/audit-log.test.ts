import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { followAuditLog, parseAuditEvent } from "../../../src/cluster/control-plane/audit-log.ts";

const line = (auditID: string): string =>
  `${JSON.stringify({
    auditID,
    stage: "ResponseComplete",
    verb: "get",
    requestURI: "/api",
    user: { username: "proxy" },
    impersonatedUser: { username: "oidc:ä", groups: ["a,b"] },
    responseStatus: { code: 200 },
  })}\n`;

test("an event shows who called, as whom, and the answer", () => {
  expect(parseAuditEvent(line("1"))).toEqual({
    auditId: "1",
    stage: "ResponseComplete",
    verb: "get",
    requestUri: "/api",
    username: "proxy",
    impersonatedUsername: "oidc:ä",
    impersonatedGroups: ["a,b"],
    responseCode: 200,
  });
});

test("any JSON is read without failing", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(typeof parseAuditEvent(JSON.stringify(value)).auditId).toBe("string");
    }),
  );
});

test("events that are written later follow, also when a line arrives in two pieces", async () => {
  const path = join(await temporaryFolder(), "audit.log");
  await writeFile(path, line("first"));
  const events = followAuditLog(path, { signal: AbortSignal.timeout(20_000) });
  expect((await events.next()).value?.auditId).toBe("first");
  const half = Buffer.from(line("second"));
  await appendFile(path, half.subarray(0, half.indexOf("ä") + 1)); // inside the character
  const next = events.next();
  await appendFile(path, half.subarray(half.indexOf("ä") + 1));
  expect((await next).value?.auditId).toBe("second");
  await events.return();
});
