import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { readTextFile } from "../../src/files/text-file.ts";

test("a file of 16 MiB is read, and one of a byte more is refused by its name", async () => {
  const path = join(await temporaryFolder(), "large.yaml");
  const bytes = Buffer.alloc(16_777_217, "a");
  await writeFile(path, bytes.subarray(1));
  expect(await readTextFile(path)).toHaveLength(16_777_216);
  await writeFile(path, bytes);
  await expect(readTextFile(path)).rejects.toMatchObject({
    code: "CC_FILE_UNREADABLE",
    message: expect.stringContaining("large.yaml is larger than 16 MiB"),
  });
});
