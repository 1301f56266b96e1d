import { expect, test } from "vitest";
import { forbiddenImports } from "../../scripts/guards/arrows.ts";
import { untestedBounds } from "../../scripts/guards/bounds.ts";
import { misnumberedDecisions } from "../../scripts/guards/decisions.ts";
import { crowdedFolders } from "../../scripts/guards/folders.ts";
import { idleWords } from "../../scripts/guards/glossary.ts";
import { freeRelatives } from "../../scripts/guards/sentences.ts";
import { packedFields } from "../../scripts/guards/spreads.ts";
import { strayQueries } from "../../scripts/guards/sql.ts";
import { doubledTypes } from "../../scripts/guards/type-names.ts";

const file = (path: string, text = "") => ({ path, text });

test("a folder of 16 files is let be, one of 17 is cut", () => {
  const names = (count: number) => Array.from({ length: count }, (_, n) => file(`apps/relay/src/http/${n}.ts`));
  expect(crowdedFolders(names(16))).toEqual([]);
  expect(crowdedFolders(names(17))).toEqual([expect.stringContaining("apps/relay/src/http holds 17 files")]);
});

test.each([
  ["apps/relay/src/store/a.ts", 'import { a } from "../http/b.ts";', "imports from http"],
  ["apps/relay/src/store/a.ts", 'import type { A } from "../http/b.ts";', "imports from http"],
  ["apps/relay/src/store/a.ts", 'const a = await import("../http/b.ts");', "imports from http"],
  ["packages/framing/src/bytes/a.ts", 'import { a } from "@cluster-connect/auth";', "imports auth"],
  ["packages/base/src/a.ts", 'import { a } from "@cluster-connect/protocol";', "imports protocol"],
  ["apps/agent/src/a.ts", 'import { a } from "@cluster-connect/framing/testing";', "which is for tests"],
  ["apps/agent/src/a.ts", 'import { a } from "../../relay/src/b.ts";', "not in its own workspace"],
  ["packages/base/src/a.ts", 'import { a } from "./index.ts";', "imports its entry"],
])("%s with %s is a breach", (path, text, said) => {
  expect(forbiddenImports([file(path, text)])).toEqual([expect.stringContaining(said)]);
});

test("imports along the arrows are none", () => {
  const text =
    'import { a } from "@cluster-connect/base";\nimport { b } from "./b.ts";\nimport { c } from "../store/c.ts";';
  expect(forbiddenImports([file("apps/relay/src/http/a.ts", text)])).toEqual([]);
});

test("one name for two types is a breach, and re-exporting one is none", () => {
  const one = file("apps/relay/src/a.ts", "export interface Thing {");
  expect(doubledTypes([one, file("apps/cli/src/b.ts", "export type Thing = 1;")])).toEqual([
    expect.stringContaining("the type Thing is declared in apps/relay/src/a.ts and apps/cli/src/b.ts"),
  ]);
  expect(doubledTypes([one, file("apps/cli/src/b.ts", 'export type { Thing } from "x";')])).toEqual([]);
});

test("a query outside the store and a word that nobody uses are breaches", () => {
  const query = "await sql<Row>`select 1`.execute(db);";
  expect(strayQueries([file("apps/relay/src/store/a.ts", query)])).toEqual([]);
  expect(strayQueries([file("apps/relay/src/http/a.ts", query)])).toHaveLength(1);
  expect(strayQueries([file("apps/relay/src/http/a.ts", 'db.selectFrom("x")')])).toHaveLength(1);
  const words = "## Words\n\n| **splice** | join | **hop** | step |\n";
  expect(idleWords(words, [file("apps/relay/src/a.ts", "// a splice")])).toEqual([expect.stringContaining('"hop"')]);
});

test("a sentence of a comment or a page that begins with a free Who or What is a breach, a question is none", () => {
  const said = (path: string, text: string) => freeRelatives([file(path, text)]);
  expect(said("packages/base/src/a.ts", "/** What is kept. */")).toHaveLength(1);
  expect(said("packages/base/src/a.ts", " * Kept here. Who asks gets it.")).toHaveLength(1);
  expect(said("e2e/suites/a.e2e.test.ts", "  // What is kept.")).toHaveLength(1);
  expect(said("packages/base/README.md", "- Whoever asks gets it.")).toHaveLength(1);
  expect(said("docs/security.md", "Kept. What is kept stays.")).toHaveLength(1);
  expect(said("docs/adr/0001-a.md", "What is kept stays.")).toEqual([]);
  expect(said("packages/base/README.md", "## What is it?")).toEqual([]);
  expect(said("packages/base/src/a.ts", 'const What = "Who asks";')).toEqual([]);
  expect(said("packages/base/test/a.test.ts", 'said("  // What is kept.");')).toEqual([]);
});

test.each([
  ["alone on its line", "  ...{ a, b },"],
  ["over several lines", "  ...{\n    a,\n  },"],
  ["in an object", ["const c = {", "...{ a, b }, c };"].join(" ")],
])("an object that is spread only to pack fields is a breach: %s", (_, text) => {
  expect(packedFields([file("apps/relay/test/a.test.ts", text)])).toHaveLength(1);
});

test.each(["  ...rest,", "  ...(a === undefined ? {} : { a }),", "function a(...{ length }: Args) {"])(
  "%s packs no fields",
  (text) => {
    expect(packedFields([file("apps/relay/src/a.ts", text)])).toEqual([]);
  },
);

test("two decisions of one number, and one with another number in its heading, are breaches", () => {
  const first = file("docs/adr/0010-first.md", "# 10. First\n");
  expect(misnumberedDecisions([first, file("docs/adr/0011-next.md", "# 11. Next\n")])).toEqual([]);
  expect(misnumberedDecisions([first, file("docs/adr/0010-next.md", "# 10. Next\n")])).toEqual([
    "docs/adr/0010-first.md and docs/adr/0010-next.md are both decision 10",
  ]);
  expect(misnumberedDecisions([file("docs/adr/0011-next.md", "# 10. Next\n")])).toEqual([
    'docs/adr/0011-next.md does not begin with "# 11. "',
  ]);
});

test("a bound for other files that no test names is a breach, one of its own file is none", () => {
  const bound = file(
    "apps/relay/src/a.ts",
    "export const MAX_CUPS = 8;\nconst MAX_SPOONS = 8;\nexport const TEA_MS = 1;",
  );
  const naming = (name: string) => file("apps/relay/test/a.test.ts", `expect(${name}).toBe(8);`);
  const said = [expect.stringContaining("no test names the bound MAX_CUPS")];
  expect(untestedBounds([bound])).toEqual(said);
  expect(untestedBounds([bound, naming("MAX_CUPS_OF_TEA")])).toEqual(said);
  expect(untestedBounds([bound, naming("MAX_CUPS")])).toEqual([]);
  expect(untestedBounds([file("apps/relay/src/a.ts", "export const DEFAULT_LIMITS = {};")])).toHaveLength(1);
});
