import type { SourceFile } from "./source-file.ts";

/** Folders whose comments, tests and pages were read for this; more are added as they are. */
const FOLDERS =
  /^(?:packages\/(?:api|auth|base|framing|protocol|service|testkit)|apps\/(?:agent|auth-proxy|cli|relay))\//;
/** Suites, benches and tools, read for it as well. */
const TOOLS = /^(?:e2e|bench|scripts)\//;
/** Pages that people read; decisions stay as they were written, and screens are recorded. */
const PAGES = /^(?!docs\/(?:adr|screens)|\.).*\.md$/;
const FREE = /(?:^|[.!?]\s+)(?:Who|Whom|Whoever|What)\b(?![^.!?]*\?)/;

/** Sentences that begin with a free Who or What: the noun in its place is read sooner. */
export function freeRelatives(files: readonly SourceFile[]): readonly string[] {
  return files
    .filter(({ path }) => [FOLDERS, TOOLS, PAGES].some((read) => read.test(path)))
    .flatMap(({ path, text }) =>
      text.split("\n").flatMap((line, at) => {
        const sentence = path.endsWith(".md") ? line.replace(/^[#>\-*|\s]+/, "") : commentOf(line);
        return sentence !== undefined && FREE.test(sentence)
          ? [`${path}:${at + 1} begins a sentence with Who or What: begin with the noun`]
          : [];
      }),
    );
}

function commentOf(line: string): string | undefined {
  return /^\s*(?:\/\*\*?|\*|\/\/)\s*(.*)$/.exec(line)?.[1] ?? /[^"\s]\s+\/\/\s(.*)$/.exec(line)?.[1];
}
