import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readGrantFiles } from "../../src/grants/directory.ts";
import { temporaryFolder } from "../support/folder.ts";

const OPS = "grants:\n  - name: ops\n    clusters: ['*']\n    groups: [ops]\n";

describe("a folder of grants", () => {
  test("is read as one set, in the order of the files' names", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "b.yml"), OPS);
    await writeFile(join(folder, "a.yaml"), OPS.replace("ops", "team.a"));
    await writeFile(join(folder, "notes.txt"), "not YAML: [");
    await writeFile(join(folder, "..hidden.yaml"), "not YAML: [");
    const { grants } = await readGrantFiles(folder);
    expect(grants.map(({ id, source }) => [id, source])).toEqual([
      ["file/team.a", "file"],
      ["file/ops", "file"],
    ]);
  });

  test("names every problem of every file at once", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "a.yaml"), OPS);
    await writeFile(
      join(folder, "b.yaml"),
      "grants:\n  - name: x\n    clusters: ['*']\n  - clusters: [A]\n    users: [a]\n",
    );
    await writeFile(join(folder, "c.yaml"), "grants: [");
    await writeFile(join(folder, "d.yaml"), OPS);
    await expect(readGrantFiles(folder)).rejects.toMatchObject({
      code: "CC_CONFIG_INVALID",
      message: expect.stringMatching(
        /b\.yaml: grants\[0\]\.users: .*b\.yaml: grants\[1\]\.name: .*b\.yaml: grants\[1\]\.clusters\[0\]: .*c\.yaml is not YAML.*d\.yaml: the name ops is taken by a\.yaml/,
      ),
    });
  });

  test("that is not there is said so", async () => {
    const folder = join(await temporaryFolder(), "none");
    await expect(readGrantFiles(folder)).rejects.toMatchObject({ code: "CC_FILE_MISSING" });
  });
});
