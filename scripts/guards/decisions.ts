import type { SourceFile } from "./source-file.ts";

const DECISION = /^docs\/adr\/(\d{4})-[a-z0-9-]+\.md$/;

/** Decisions whose number is another one's, too, or is not the one of their heading. */
export function misnumberedDecisions(pages: readonly SourceFile[]): readonly string[] {
  const decisions = pages.flatMap(({ path, text }) => {
    const [, number] = DECISION.exec(path) ?? [];
    return number === undefined ? [] : [{ path, text, number }];
  });
  const doubled = [...Map.groupBy(decisions, ({ number }) => number)]
    .filter(([, found]) => found.length > 1)
    .map(([number, found]) => `${found.map(({ path }) => path).join(" and ")} are both decision ${Number(number)}`);
  const misheaded = decisions
    .filter(({ text, number }) => !text.startsWith(`# ${Number(number)}. `))
    .map(({ path, number }) => `${path} does not begin with "# ${Number(number)}. "`);
  return [...doubled, ...misheaded];
}
