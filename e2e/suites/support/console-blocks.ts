/**
 * The commands in the console blocks of a page, in its order: a line each, without the remark behind it and the blanks
 * that line it up. A line that ends with a backslash goes on.
 */
export function commandsOf(page: string): readonly string[] {
  const blocks = [...page.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);
  return blocks
    .flatMap((block) => block.replaceAll(/\\\n\s*/g, "").split("\n"))
    .map((line) =>
      line
        .replace(/^\$ /, "")
        .replace(/(^|\s)#\s.*$/, "")
        .trim(),
    )
    .filter((line) => line !== "");
}
