import { duplexPair } from "node:stream";
import { expect, test } from "vitest";
import { askCluster } from "../../src/cluster/request.ts";

const END = { cluster: "prod", serverName: "prod.clusters.test", authorities: "", token: "t" } as const;
const NEVER = new AbortController().signal;

test("a stream to a cluster that fails again after its failure ends nothing but the question", async () => {
  const [near] = duplexPair();
  const asked = askCluster(END, { path: "/" }, { signal: NEVER }, async () => near);
  const first = expect(asked).rejects.toMatchObject({ code: "CC_UPSTREAM_UNREACHABLE" });
  await new Promise(setImmediate);
  near.destroy(new Error("first"));
  await first;
  expect(() => near.emit("error", new Error("second"))).not.toThrow();
  expect(() => near.emit("error", new Error("third"))).not.toThrow();
});
