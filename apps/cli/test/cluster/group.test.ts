import { expect, test } from "vitest";
import { idInGroup } from "../../src/cluster/group.ts";

const OFFERED = ["web", "shop--web", "my-rg-1--db"];

test.each([
  ["no group", "web", undefined, "web"],
  ["a group that the relay has", "web", "shop", "shop--web"],
  ["a group that it does not have", "web", "other", "web"],
  ["a name that is not in the group, though there is one outside", "db", "shop", "shop--db"],
  ["a group as Azure allows it", "db", "My_RG.(1)", "my-rg-1--db"],
])("%s", (_name, name, group, id) => {
  expect(idInGroup(name, group, OFFERED)).toBe(id);
});
