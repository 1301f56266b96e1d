import { parseClusterId } from "@cluster-connect/protocol";
import { expect, test } from "vitest";
import { routeConnection } from "../../src/proxy/route.ts";

const one = { id: parseClusterId("one"), serverName: "one.test" };
const two = { id: parseClusterId("two"), serverName: "two.test" };

test("with one cluster every connection means it", () => {
  const clusters = [one];
  expect(routeConnection({ kind: "other" }, clusters)).toEqual({ kind: "cluster", cluster: one });
  expect(routeConnection({ kind: "hello", serverName: "else.test" }, clusters)).toEqual({
    kind: "cluster",
    cluster: one,
  });
  expect(routeConnection({ kind: "hello", serverName: undefined }, clusters)).toEqual({
    kind: "cluster",
    cluster: one,
  });
});

test("with several the server name decides, and nothing else does", () => {
  const clusters = [one, two];
  expect(routeConnection({ kind: "hello", serverName: "two.test" }, clusters)).toEqual({
    kind: "cluster",
    cluster: two,
  });
  expect(routeConnection({ kind: "hello", serverName: "else.test" }, clusters)).toEqual({
    kind: "unknown",
    named: "else.test",
  });
  expect(routeConnection({ kind: "hello", serverName: undefined }, clusters)).toEqual({
    kind: "unknown",
    named: undefined,
  });
  expect(routeConnection({ kind: "other" }, clusters)).toEqual({ kind: "unknown", named: undefined });
});
