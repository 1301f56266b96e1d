import { ConnectError, ERRORS, isErrorCode } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { statusAnswer, watchErrorEvent } from "../../src/proxying/status-body.ts";

test.each(Object.keys(ERRORS).filter(isErrorCode))(
  "%s becomes a Status that a Kubernetes client understands",
  (code) => {
    const { status, headers, body } = statusAnswer(new ConnectError(code, "What was wrong"));
    expect(status).toBe(ERRORS[code].http);
    expect(JSON.parse(body.toString())).toMatchObject({
      kind: "Status",
      apiVersion: "v1",
      status: "Failure",
      message: `${status === 401 ? "Unauthorized: " : ""}What was wrong (${code})`,
      code: status,
      details: { causes: [{ reason: code, message: ERRORS[code].hint }] },
    });
    expect(headers[headers.indexOf("Content-Length") + 1]).toBe(String(body.length));
    expect(headers.includes("WWW-Authenticate")).toBe(status === 401);
    expect(headers.includes("Retry-After")).toBe(status === 429 || status === 503);
  },
);

test("Retry-After is whole seconds, at least one", () => {
  const after = (retryAfterMs: number): string | undefined => {
    const { headers } = statusAnswer(new ConnectError("CC_LIMIT_REACHED", "x", { retryAfterMs }));
    return headers[headers.indexOf("Retry-After") + 1];
  };
  expect([after(1), after(1_001), after(5_000)]).toEqual(["1", "2", "5"]);
});

test("the event that ends a watch is one line", () => {
  const text = watchErrorEvent(new ConnectError("CC_TOKEN_EXPIRED", "x")).toString();
  expect(text.indexOf("\n")).toBe(text.length - 1);
  expect(JSON.parse(text)).toMatchObject({ type: "ERROR", object: { kind: "Status", code: 401 } });
});
