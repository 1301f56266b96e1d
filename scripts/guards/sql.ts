import type { SourceFile } from "./source-file.ts";

const SQL = /\bsql(?:<[^`]*>)?`|\.(?:selectFrom|insertInto|updateTable|deleteFrom)\(/;
const STORE = "apps/relay/src/store/";

/** Queries outside the relay's store. */
export function strayQueries(files: readonly SourceFile[]): readonly string[] {
  return files
    .filter(({ path, text }) => /\/src\/.*\.ts$/.test(path) && !path.startsWith(STORE) && SQL.test(text))
    .map(({ path }) => `${path} holds a query: SQL is in ${STORE}`);
}
