import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { describe, expect, test } from "vitest";
import { readGrantFiles, requireGrantFiles } from "../../src/grants/directory.ts";

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
    await expect(requireGrantFiles(folder)).rejects.toMatchObject({
      code: "CC_CONFIG_INVALID",
      message: expect.stringMatching(
        /b\.yaml: grants\[0\]\.users: .*b\.yaml: grants\[1\]\.name: .*b\.yaml: grants\[1\]\.clusters\[0\]: .*c\.yaml is not YAML.*d\.yaml: the name ops is taken by a\.yaml/,
      ),
    });
  });

  test("gives the grants that are valid, and what is wrong with the others", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "a.yaml"), `${OPS}  - name: broken\n    clusters: [A]\n    users: [a]\n`);
    await writeFile(join(folder, "b.yaml"), "grants: [");
    const { grants, problems } = await readGrantFiles(folder);
    expect(grants.map(({ id }) => id)).toEqual(["file/ops"]);
    expect(problems).toHaveLength(2);
    expect(problems[0]).toMatch(/a\.yaml: grants\[1\]\.clusters\[0\]/);
  });

  test("lets a grant go on whose entry is wrong now, and takes away what is not there any more", async () => {
    const folder = await temporaryFolder();
    const file = join(folder, "a.yaml");
    const entry = (name: string, groups: string): string =>
      `  - name: ${name}\n    clusters: ['*']\n    groups: ${groups}\n`;
    await writeFile(file, `grants:\n${entry("ops", "[ops]")}${entry("dev", "[dev]")}${entry("old", "[old]")}`);
    await writeFile(join(folder, "b.yaml"), `grants:\n${entry("gone", "[gone]")}`);
    const former = await readGrantFiles(folder);
    await writeFile(file, `grants:\n${entry("ops", "[more]")}${entry("dev", "wrong")}`);
    await writeFile(join(folder, "b.yaml"), "grants: []");
    const { grants } = await readGrantFiles(folder, former);
    expect(grants.map(({ id, spec }) => [id, spec.groups])).toEqual([
      ["file/ops", ["more"]],
      ["file/dev", ["dev"]],
    ]);
  });

  test("that is not there is said so", async () => {
    const folder = join(await temporaryFolder(), "none");
    await expect(readGrantFiles(folder)).rejects.toMatchObject({ code: "CC_FILE_MISSING" });
  });
});
