import fc from "fast-check";
import { expect, test } from "vitest";
import { cleanOutput } from "../../src/terminal/clean-output.ts";
import { shellWord } from "../../src/terminal/shell-word.ts";

function shown(text: string, isTerminal: boolean): string {
  let written = "";
  const write = (more: string): void => {
    written += more;
  };
  cleanOutput({ write, isTerminal, columns: 80 }).write(text);
  return written;
}

test("what would move a cursor, set a title or turn text round is shown instead", () => {
  expect(shown("a\u001b]0;t\u0007b\u009b2J\u202ec\n", false)).toBe("a\\u001b]0;t\\u0007b\\u009b2J\\u202ec\n");
  expect(shown("a\rb", true)).toBe("a\\u000db");
});

test("this tool's own emphasis works on a terminal, and nowhere else", () => {
  expect(shown("\r\u001b[K\u001b[1mhint:\u001b[22m\tgo\n", true)).toBe("\r\u001b[K\u001b[1mhint:\u001b[22m\tgo\n");
  expect(shown("\u001b[1m", false)).toBe("\\u001b[1m");
  expect(shown("\u001b[2J\u001b[1;1H", true)).toBe("\\u001b[2J\\u001b[1;1H");
});

test("a JSON document stays the same document, whatever text is in it", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.boolean(), (text, isTerminal) => {
      const written = shown(`${JSON.stringify({ text })}\n`, isTerminal);
      expect(JSON.parse(written)).toEqual({ text });
    }),
  );
});

test("a text of somebody else's is one word of a command, for any shell", () => {
  expect(shellWord("https://relay.example.com/a?b=1")).toBe("'https://relay.example.com/a?b=1'");
  expect(shellWord("api://relay")).toBe("api://relay");
  expect(shellWord("x; rm -rf ~ $(id) `id`")).toBe("'x; rm -rf ~ $(id) `id`'");
  expect(shellWord("it's")).toBe("'it'\\''s'");
  expect(shellWord("a\n\u001b[2Jb")).toBe("'a [2Jb'");
});
