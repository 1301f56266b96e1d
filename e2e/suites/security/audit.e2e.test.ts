import { expect, test } from "vitest";
import type { AuditEvent } from "../../src/cluster/control-plane/audit-log.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { useStack } from "../support/stack.ts";

const suite = useStack();
const DEADLINE_MS = 60_000;

test("the apiserver's audit log names the person, under the Audit-ID that the auth proxy logged", async () => {
  const { signIn } = suite();
  const viewer = await signIn("viewer");
  expect(await viewer.run("kubectl", ["get", "configmaps", "-n", "kube-public"])).toMatchObject({ code: 0 });
  const path = "/api/v1/namespaces/kube-public/configmaps";
  const audited = await findAudited(
    (event) => event.requestUri.startsWith(path) && event.impersonatedUsername !== undefined,
  );
  expect(audited).toMatchObject({
    username: "system:serviceaccount:cluster-connect:cluster-connect-auth-proxy",
    impersonatedUsername: "demo:viewer",
    impersonatedGroups: ["demo:viewers", "system:authenticated"],
    responseCode: 200,
  });
  expect(await findLogged(audited.auditId)).toMatchObject({
    event: "request",
    username: "demo:viewer",
    decision: "allowed",
    status: 200,
  });
});

test("a request that RBAC refuses is in both logs, too", async () => {
  const { signIn } = suite();
  const viewer = await signIn("viewer");
  expect(await viewer.run("kubectl", ["delete", "namespace", "kube-public"])).toMatchObject({ code: 1 });
  const audited = await findAudited((event) => event.verb === "delete" && event.requestUri.endsWith("/kube-public"));
  expect(audited).toMatchObject({ impersonatedUsername: "demo:viewer", responseCode: 403 });
  expect(await findLogged(audited.auditId)).toMatchObject({ status: 403, username: "demo:viewer" });
});

async function findAudited(matches: (event: AuditEvent) => boolean): Promise<AuditEvent> {
  for await (const event of suite().stack.cluster.auditEvents({ signal: AbortSignal.timeout(DEADLINE_MS) })) {
    if (matches(event)) return event;
  }
  throw new Error("the audit log ended");
}

/** The auth proxy's line for a request; it is written when the answer is over, which may be after the audit event. */
async function findLogged(auditId: string): Promise<unknown> {
  const { authProxy } = suite().stack;
  return await pollUntil(async () => (await authProxy.logEvents()).find((line) => line["auditId"] === auditId), {
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
}
