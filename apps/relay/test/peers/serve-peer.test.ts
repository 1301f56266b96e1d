import type { StreamRequest } from "@cluster-connect/framing";
import { parseClusterId, parseCorrelationId, parseSecret } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { localTunnel } from "../../src/peers/serve-peer.ts";

const caller = { issuer: "https://login.test", subject: "jane", username: "jane" };
const NOWHERE = { pick: () => undefined, find: () => undefined };

function request(change: { readonly viaPeer?: boolean; readonly caller?: typeof caller }): StreamRequest {
  return {
    kind: "open",
    open: {
      cluster: parseClusterId("prod"),
      upstream: "kubernetes",
      windowBytes: 1,
      graceMs: 0,
      viaPeer: true,
      key: parseSecret("k".repeat(43)),
      correlationId: parseCorrelationId("0123456789abcdef"),
      ...change,
    },
  };
}

test("a stream that was forwarded is not forwarded again", () => {
  expect(() => localTunnel(request({ caller }), NOWHERE)).toThrow(expect.objectContaining({ code: "CC_PEER_LOOP" }));
});

test("a stream that no relay has checked is refused", () => {
  const refused = expect.objectContaining({ code: "CC_PROTOCOL" });
  expect(() => localTunnel(request({}), NOWHERE)).toThrow(refused);
  expect(() => localTunnel(request({ caller, viaPeer: false }), NOWHERE)).toThrow(refused);
});
