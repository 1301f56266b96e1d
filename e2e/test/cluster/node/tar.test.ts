import { readFile, readlink, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { packTar } from "../../../src/cluster/node/tar.ts";
import { runToEnd } from "../../../src/process/run-to-end.ts";

test("tar unpacks what was packed: contents, modes, links, folders", async () => {
  const folder = await temporaryFolder();
  const archive = join(folder, "archive.tar");
  const content = Buffer.alloc(1_500, "abc");
  await writeFile(
    archive,
    packTar([
      { kind: "folder", path: "inside/", mode: 0o750 },
      { kind: "file", path: "inside/program", content, mode: 0o755 },
      { kind: "file", path: "inside/empty", content: new Uint8Array() },
      { kind: "link", path: "inside/link", to: "program" },
    ]),
  );
  const done = await runToEnd("tar", ["-xpf", archive, "-C", folder], {
    env: process.env,
    signal: AbortSignal.timeout(20_000),
  });
  expect(done).toMatchObject({ code: 0, stderr: "" });
  const inside = join(folder, "inside");
  expect((await readFile(join(inside, "program"))).equals(content)).toBe(true);
  expect((await readFile(join(inside, "empty"))).length).toBe(0);
  expect(await readlink(join(inside, "link"))).toBe("program");
  expect([(await stat(join(inside, "program"))).mode & 0o777, (await stat(inside)).mode & 0o777]).toEqual([
    0o755, 0o750,
  ]);
});

test("a name that does not fit into a header is refused", () => {
  const path = "a".repeat(101);
  expect(() => packTar([{ kind: "folder", path }])).toThrow(RangeError);
});
