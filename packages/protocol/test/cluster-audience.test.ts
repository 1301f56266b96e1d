import fc from "fast-check";
import { expect, test } from "vitest";
import {
  clusterAudienceOf,
  hasOwnAudiences,
  isAudienceTemplate,
  isClusterAudience,
  parseClusterId,
  serverNameOf,
} from "../src/index.ts";

const ID = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/).map((id) => parseClusterId(id));
const TEXT = fc.stringMatching(/^[a-z:/.-]{0,12}$/);

test("the audience of a cluster has its id in place of {cluster}, and is one of the template's", () => {
  fc.assert(
    fc.property(TEXT, TEXT, ID, (before, after, id) => {
      const template = `${before}{cluster}${after}`;
      expect(clusterAudienceOf(template, id)).toBe(`${before}${id}${after}`);
      expect(isClusterAudience(template, clusterAudienceOf(template, id))).toBe(true);
      expect(hasOwnAudiences(template)).toBe(true);
    }),
  );
});

test("an audience without {cluster} is the same for all", () => {
  expect(clusterAudienceOf("clusters", parseClusterId("prod"))).toBe("clusters");
  expect(hasOwnAudiences("clusters")).toBe(false);
  expect(isClusterAudience("clusters", "clusters")).toBe(true);
  expect(isClusterAudience("clusters", "clusters2")).toBe(false);
});

test.each([
  ["another text before the id", "y/prod/k"],
  ["another text after the id", "x/prod/kk"],
  ["no id", "x//k"],
  ["an id with a slash in it", "x/a/b/k"],
  ["texts that overlap", "x/k"],
])("an audience with %s is none of the template's", (_what, audience) => {
  expect(isClusterAudience("x/{cluster}/k", audience)).toBe(false);
});

test("a template names the cluster at most once", () => {
  expect(isAudienceTemplate("a{cluster}")).toBe(true);
  expect(isAudienceTemplate("a")).toBe(true);
  expect(isAudienceTemplate("")).toBe(false);
  expect(isAudienceTemplate("{cluster}{cluster}")).toBe(false);
});

test("a cluster's server name begins with its id", () => {
  expect(serverNameOf(parseClusterId("prod"))).toBe("prod.clusters.cluster-connect.internal");
});
