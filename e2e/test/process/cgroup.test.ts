import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { removeCgroup } from "../../src/process/cgroup.ts";

test("a group goes with those in it, and one that is gone already is no error", async () => {
  const group = join(await temporaryFolder(), "group");
  await mkdir(join(group, "pods", "pod", "container"), { recursive: true });
  await mkdir(join(group, "others"));
  await removeCgroup(group);
  await expect(mkdir(group)).resolves.toBeUndefined();
  await removeCgroup(group);
  await expect(removeCgroup(group)).resolves.toBeUndefined();
});
