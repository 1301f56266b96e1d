import type { ASTNode } from "@marcbachmann/cel-js";
import { isObject } from "../json.ts";

const LOOPS: ReadonlySet<string> = new Set(["all", "exists", "exists_one", "existsOne", "map", "filter"]);

/** Every node of a syntax tree, the root first. */
export function nodesOf(tree: ASTNode): readonly ASTNode[] {
  return [tree, ...childrenOf(tree).flatMap(nodesOf)];
}

/** How deep loops over lists and maps lie in each other; 0 without any. */
export function loopsOf(tree: ASTNode): number {
  const inner = Math.max(0, ...childrenOf(tree).map(loopsOf));
  return inner + (tree.op === "rcall" && LOOPS.has(tree.args[0]) ? 1 : 0);
}

/**
 * An upper bound of the steps an expression takes: each node once for each turn of the loops around it. A loop has no
 * more turns than the value has elements and characters that could be split into elements.
 */
export function expressionCost(shape: { readonly nodes: number; readonly loops: number }, value: unknown): number {
  return shape.nodes * (shape.loops === 0 ? 1 : (longest(value) + shape.nodes) ** shape.loops);
}

/** The longest list, map or string in a value. */
function longest(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (Array.isArray(value)) return Math.max(value.length, ...value.map(longest));
  if (isObject(value)) return Math.max(Object.keys(value).length, ...Object.values(value).map(longest));
  return 0;
}

function childrenOf(node: ASTNode): readonly ASTNode[] {
  return isNode(node.args) ? [node.args] : Array.isArray(node.args) ? nodesIn(node.args) : [];
}

function nodesIn(list: readonly unknown[]): readonly ASTNode[] {
  return list.flatMap((entry) => (isNode(entry) ? [entry] : Array.isArray(entry) ? nodesIn(entry) : []));
}

function isNode(value: unknown): value is ASTNode {
  return isObject(value) && typeof value["op"] === "string" && "args" in value;
}
