import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ERRORS } from "../src/errors.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const FILES = ["{packages,apps}/*/{src,test}/**/*.ts", "e2e/{src,test,suites}/**/*.ts"];
/** Here codes are listed, not produced. */
const TABLES = /packages\/protocol\/(src|test)\/errors/;
/** A line on which a test makes an error itself, to see what becomes of it. */
const MADE = /new ConnectError\(|(rejection|refusal) = |\.(reset|reject|close|goaway)\(/;

function filesThat(matches: (path: string) => boolean): readonly string[] {
  return globSync(FILES, { cwd: ROOT }).filter((path) => !TABLES.test(path) && matches(path));
}

/** Every code that the lines of these files name. */
function codesIn(paths: readonly string[], counts: (line: string) => boolean): ReadonlySet<string> {
  const lines = paths.flatMap((path) => readFileSync(join(ROOT, path), "utf8").split("\n"));
  return new Set(lines.filter(counts).flatMap((line) => line.match(/\bCC_[A-Z_]+\b/g) ?? []));
}

test("every code that the sources produce has a test that expects it", () => {
  const produced = codesIn(
    filesThat((path) => /\/src\/.*\.ts$/.test(path) && !/\/testing\//.test(path)),
    (line) => !/^\s*(\/\/|\*|\/\*\*)/.test(line),
  );
  const expected = codesIn(
    filesThat((path) => path.endsWith(".test.ts")),
    (line) => !MADE.test(line),
  );
  expect(Object.keys(ERRORS).filter((code) => produced.has(code) && !expected.has(code))).toEqual([]);
});
