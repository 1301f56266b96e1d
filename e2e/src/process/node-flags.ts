import { readFile } from "node:fs/promises";

/** Node's options that a program's first line asks for, as `#!/usr/bin/env -S node OPTION...` does; none without it. */
export async function nodeFlags(main: string): Promise<readonly string[]> {
  const [first = ""] = (await readFile(main, "utf8")).split("\n", 1);
  const [, flags = ""] = /^#!\S*\/env -S node (.*)$/.exec(first) ?? [];
  return flags.split(" ").filter((flag) => flag !== "");
}
