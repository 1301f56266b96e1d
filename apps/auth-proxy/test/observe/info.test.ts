import { expect, test } from "vitest";
import { describeRequest } from "../../src/observe/info.ts";

const SHORT = { long: false, watch: false };

test.each([
  ["GET", "/version", { verb: "get", path: "/version" }],
  ["POST", "/healthz", { verb: "post" }],
  ["GET", "/api", { verb: "get" }],
  ["GET", "/apis/apps/v1", { verb: "get" }],
  ["GET", "/api/v1/pods?limit=1", { verb: "list", resource: "pods", path: "/api/v1/pods" }],
  ["GET", "/api/v1/namespaces/a/pods/b", { verb: "get", resource: "pods", namespace: "a", name: "b" }],
  ["GET", "/api/v1/namespaces", { verb: "list", resource: "namespaces" }],
  ["GET", "/api/v1/namespaces/a", { verb: "get", resource: "namespaces", namespace: "a", name: "a" }],
  [
    "PUT",
    "/api/v1/namespaces/a/finalize",
    { verb: "update", resource: "namespaces", name: "a", subresource: "finalize" },
  ],
  ["POST", "/apis/apps/v1/namespaces/a/deployments", { verb: "create", apiGroup: "apps", resource: "deployments" }],
  ["PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", { verb: "patch", name: "b", subresource: "scale" }],
  ["DELETE", "/api/v1/namespaces/a/pods", { verb: "deletecollection", resource: "pods", namespace: "a" }],
  ["DELETE", "/api/v1/nodes/n", { verb: "delete", resource: "nodes", name: "n" }],
  ["HEAD", "/api/v1/nodes/n", { verb: "get", resource: "nodes", name: "n" }],
  ["GET", "/api/v1/pods?watch=0", { verb: "list" }],
  [
    "GET",
    "/api/v1/namespaces/gr\xc3\xb6\x9b/pods/\x80\xff",
    { namespace: "gr%C3%B6%9B", name: "%80%FF", path: "/api/v1/namespaces/gr%C3%B6%9B/pods/%80%FF" },
  ],
])("%s %s is told apart", (method, target, info) => {
  expect(describeRequest(method, target)).toMatchObject({ ...SHORT, ...info });
});

test.each([
  ["GET", "/api/v1/pods?watch=true", { verb: "watch", watch: true }],
  ["GET", "/api/v1/pods?watch=1&x=y", { verb: "watch", watch: true }],
  ["GET", "/api/v1/watch/namespaces/a/pods", { verb: "watch", watch: true, resource: "pods", namespace: "a" }],
  ["GET", "/api/v1/namespaces/a/pods/b/log", { verb: "get", subresource: "log" }],
  ["GET", "/api/v1/namespaces/a/pods/b/log?follow=true", { verb: "get", subresource: "log" }],
  ["POST", "/api/v1/namespaces/a/pods/b/exec?command=ls", { verb: "create", subresource: "exec" }],
  ["GET", "/api/v1/namespaces/a/pods/b/portforward", { subresource: "portforward" }],
  ["GET", "/api/v1/namespaces/a/services/b/proxy/c/d", { subresource: "proxy" }],
])("%s %s goes on until somebody ends it", (method, target, info) => {
  expect(describeRequest(method, target)).toMatchObject({ long: true, ...info });
});

test("the query is never part of what is logged", () => {
  expect(JSON.stringify(describeRequest("GET", "/api/v1/pods?token=secret"))).not.toContain("secret");
});
