import { parseAst } from "vitest/node";

/** A node of the syntax tree (ESTree with TypeScript), with its place in the text in UTF-16 units. */
export interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

export function isNode(value: unknown): value is SyntaxNode {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

/** @throws Error of the parser, when the text is no TypeScript. */
export function parseTypeScript(source: string): SyntaxNode {
  const program: unknown = parseAst(source, { lang: "ts" });
  if (!isNode(program)) throw new Error("The parser returned no syntax tree");
  return program;
}

/** The nodes directly below one, in the order of the text; types and imports are left out, since they never run. */
export function runningChildren(node: SyntaxNode): readonly SyntaxNode[] {
  const children: SyntaxNode[] = [];
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child) && runs(child)) children.push(child);
  }
  return children.toSorted((a, b) => a.start - b.start);
}

const TYPED_EXPRESSIONS = new Set(["TSAsExpression", "TSSatisfiesExpression", "TSNonNullExpression"]);

function runs(node: SyntaxNode): boolean {
  if (TYPED_EXPRESSIONS.has(node.type)) return true;
  return !node.type.startsWith("TS") && node.type !== "ImportDeclaration";
}

/** A child by its name, when it is a node. */
export function childOf(node: SyntaxNode, name: string): SyntaxNode | undefined {
  const child = node[name];
  return isNode(child) ? child : undefined;
}
