import { expect, test } from "vitest";
import { describeHops, missingHop } from "../../src/cluster/hops.ts";

test.each([
  ["CC_CHANNEL_LOST", "relay … > agent > auth proxy > kube-apiserver"],
  ["CC_AGENT_OFFLINE", "relay ok > agent … > auth proxy > kube-apiserver"],
  ["CC_UPSTREAM_UNREACHABLE", "relay ok > agent ok > auth proxy … > kube-apiserver"],
  ["CC_APISERVER_UNREACHABLE", "relay ok > agent ok > auth proxy ok > kube-apiserver …"],
] as const)("%s shows which hop is waited for", (code, line) => {
  expect(describeHops(missingHop(code))).toBe(line);
});
