import { childOf, parseTypeScript, runningChildren, type SyntaxNode } from "./syntax.ts";

/** The name of the function that is added to a file; nothing of ours is called so. */
const NOTE = "__noteReached";

export const isFunction = (node: SyntaxNode | undefined): boolean => node?.type.includes("Function") === true;

/**
 * The file with a note at the beginning of each of its functions. The first call in a process appends the function's
 * place in the text to a file, as a line with a number. So it is known also of processes that a test starts and stops.
 */
export function notingReached(source: string, notesPath: string): string {
  const pieces: { readonly at: number; readonly text: string }[] = [];
  for (const node of functionsOf(parseTypeScript(source))) {
    const body = childOf(node, "body");
    if (body === undefined) continue;
    if (body.type === "BlockStatement") pieces.push({ at: body.start + 1, text: ` ${NOTE}(${node.start});` });
    else pieces.push({ at: body.start, text: `(${NOTE}(${node.start}), ` }, { at: body.end, text: ")" });
  }
  const parts: string[] = [];
  let from = 0;
  for (const { at, text } of pieces.toSorted((a, b) => a.at - b.at)) {
    parts.push(source.slice(from, at), text);
    from = at;
  }
  return `${parts.join("")}${source.slice(from)}
function ${NOTE}(at: number): void {
  const noted = ((globalThis as Record<string, unknown>)["${NOTE}"] ??= new Set()) as Set<number>;
  if (noted.has(at)) return;
  noted.add(at);
  process.getBuiltinModule("node:fs").appendFileSync(${JSON.stringify(notesPath)}, at + "\\n");
}
`;
}

function* functionsOf(node: SyntaxNode): Generator<SyntaxNode> {
  if (isFunction(node)) yield node;
  for (const child of runningChildren(node)) yield* functionsOf(child);
}
