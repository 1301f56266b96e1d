import type { Change } from "./change.ts";
import { isFunction } from "./reach.ts";
import { childOf, runningChildren, type SyntaxNode } from "./syntax.ts";

/** The changes of one node; `whole` when nothing below it is to be changed as well. */
export interface Changes {
  readonly changes: readonly Change[];
  readonly whole: boolean;
}

type Changer = (node: SyntaxNode, parents: readonly SyntaxNode[], source: string) => readonly Change[];

const OPERATORS: Readonly<Record<string, readonly string[]>> = {
  "<": ["<=", ">="],
  "<=": ["<", ">"],
  ">": [">=", "<="],
  ">=": [">", "<"],
  "===": ["!=="],
  "!==": ["==="],
  "+": ["-"],
  "-": ["+"],
  "*": ["/"],
  "/": ["*"],
  "%": ["*"],
  "<<": [">>"],
  ">>>": ["<<"],
  ">>": ["<<"],
  "&": ["|"],
  "|": ["&"],
  "&&": ["||"],
  "||": ["&&"],
  "+=": ["-=", "="],
  "-=": ["+=", "="],
  "??=": ["="],
  "++": ["--"],
  "--": ["++"],
};

/** Questions with yes or no as the answer. */
const QUESTIONS = new Set(["endsWith", "equals", "every", "has", "includes", "isArray", "some", "startsWith", "test"]);

const CHANGERS: Readonly<Record<string, Changer>> = {
  BinaryExpression: (node, parents, source) =>
    joinsText(node, source) ? [] : operator(node, source).filter((_, left) => left < kept(node, parents[0])),
  LogicalExpression: (node, _parents, source) =>
    node["operator"] === "??" ? eitherSide(node, source) : operator(node, source),
  AssignmentExpression: (node, _parents, source) => operator(node, source),
  UpdateExpression: updated,
  UnaryExpression: (node, parents, source) =>
    !isTest(node, parents[0]) && (node["operator"] === "!" || node["operator"] === "-")
      ? replace(node, textOf(childOf(node, "argument"), source))
      : [],
  AwaitExpression: (node, _parents, source) => replace(node, textOf(childOf(node, "argument"), source)),
  IfStatement: (node) => forced(childOf(node, "test")),
  ConditionalExpression: (node) => forced(childOf(node, "test")),
  WhileStatement: (node) => never(childOf(node, "test")),
  ForStatement: (node) => never(childOf(node, "test")),
  CallExpression: called,
  ArrayExpression: shortened,
  ExpressionStatement: removed,
  ThrowStatement: removed,
  BreakStatement: removed,
  ContinueStatement: removed,
  ReturnStatement: returned,
  BlockStatement: (node, parents) =>
    isFunction(parents[0]) && !returnsValue(node)
      ? [{ start: node.start + 1, end: node.start + 1, text: " return;" }]
      : [],
  Literal: literal,
};

/** The changes that are tried at one node, without those below it. */
export function changesOf(node: SyntaxNode, parents: readonly SyntaxNode[], source: string): Changes {
  if (isConstant(node)) return { changes: constant(node, source), whole: true };
  return { changes: CHANGERS[node.type]?.(node, parents, source) ?? [], whole: false };
}

const replace = (node: SyntaxNode, text: string | undefined): readonly Change[] =>
  text === undefined ? [] : [{ start: node.start, end: node.end, text }];

const textOf = (node: SyntaxNode | undefined, source: string): string | undefined =>
  node === undefined ? undefined : source.slice(node.start, node.end);

/** Other operators between the same operands: for a comparison its boundary first, then its opposite. */
function operator(node: SyntaxNode, source: string): readonly Change[] {
  const [before, after] = [childOf(node, "left"), childOf(node, "right")];
  const sign = String(node["operator"]);
  if (before === undefined || after === undefined) return [];
  const start = source.indexOf(sign, before.end);
  if (start === -1 || start >= after.start) return [];
  return (OPERATORS[sign] ?? []).map((text) => ({ start, end: start + sign.length, text }));
}

/** The whole question of a condition, whose opposite says no more than yes and no do. */
const isTest = (node: SyntaxNode, parent: SyntaxNode | undefined): boolean =>
  parent !== undefined && childOf(parent, "test") === node;

/** How many of an operator's changes are worth a try. */
function kept(node: SyntaxNode, parent: SyntaxNode | undefined): number {
  if (!isTest(node, parent)) return Number.POSITIVE_INFINITY;
  return /^[<>]/.test(String(node["operator"])) ? 1 : 0;
}

/** Whether a plus joins text, where a minus would say nothing. */
function joinsText(node: SyntaxNode, source: string): boolean {
  if (node["operator"] !== "+") return false;
  return [childOf(node, "left"), childOf(node, "right")].some(
    (side) => side !== undefined && (side.type === "TemplateLiteral" || /^["'`]/.test(source.slice(side.start))),
  );
}

function eitherSide(node: SyntaxNode, source: string): readonly Change[] {
  return ["left", "right"].flatMap((side) => {
    const text = textOf(childOf(node, side), source);
    return text === undefined ? [] : replace(node, `(${text})`);
  });
}

function updated(node: SyntaxNode, _parents: readonly SyntaxNode[], source: string): readonly Change[] {
  const text = source.slice(node.start, node.end);
  const sign = String(node["operator"]);
  return (OPERATORS[sign] ?? []).flatMap((other) => replace(node, text.replace(sign, other)));
}

const forced = (test: SyntaxNode | undefined): readonly Change[] =>
  test === undefined ? [] : [...replace(test, "true"), ...replace(test, "false")];

/** A loop is left out, never made endless. */
const never = (test: SyntaxNode | undefined): readonly Change[] => (test === undefined ? [] : replace(test, "false"));

function called(node: SyntaxNode, parents: readonly SyntaxNode[], source: string): readonly Change[] {
  const callee = childOf(node, "callee");
  const property = callee === undefined ? undefined : childOf(callee, "property");
  const name = textOf(property, source);
  if (callee?.type !== "MemberExpression" || property === undefined || name === undefined) return [];
  if (name === "min" || name === "max") return replace(property, name === "min" ? "max" : "min");
  const [parent, above] = parents;
  const isWhole =
    parent?.type === "ExpressionStatement" ||
    isTest(node, parent) ||
    (parent?.type === "UnaryExpression" && isTest(parent, above));
  return QUESTIONS.has(name) && !isWhole ? forced(node) : [];
}

/** Nothing in place of a statement; all that a condition leads to is left out by the condition that never holds. */
function removed(node: SyntaxNode, parents: readonly SyntaxNode[]): readonly Change[] {
  const [parent] = parents;
  const isConsequent = parent?.type === "IfStatement" && childOf(parent, "consequent") === node;
  return isConsequent ? [] : replace(node, ";");
}

/** A list without one of its elements. */
function shortened(node: SyntaxNode, _parents: readonly SyntaxNode[], source: string): readonly Change[] {
  const elements = Array.isArray(node["elements"]) ? node["elements"] : [];
  const texts = elements.map((element: SyntaxNode) => source.slice(element.start, element.end));
  return texts.flatMap((_, left) => replace(node, `[${texts.filter((_text, index) => index !== left).join(", ")}]`));
}

function returned(node: SyntaxNode, _parents: readonly SyntaxNode[], source: string): readonly Change[] {
  const argument = childOf(node, "argument");
  if (argument === undefined) return replace(node, ";");
  const text = source.slice(argument.start, argument.end);
  if (text === "undefined" || /^(true|false|-?[\d_]+)$/.test(text)) return [];
  return replace(argument, "undefined");
}

/** Whether a function gives a value back; one that does not may as well end before it begins. */
function returnsValue(node: SyntaxNode): boolean {
  if (node.type === "ReturnStatement") return childOf(node, "argument") !== undefined;
  return !isFunction(node) && runningChildren(node).some(returnsValue);
}

const isNumber = (node: SyntaxNode): boolean => node.type === "Literal" && typeof node["value"] === "number";

/** A named bound or a setting's default: a number, or a sum of numbers, that has a name. */
function isConstant(node: SyntaxNode): boolean {
  if (node.type !== "VariableDeclarator" && node.type !== "Property" && node.type !== "PropertyDefinition")
    return false;
  const value = childOf(node, node.type === "VariableDeclarator" ? "init" : "value");
  return value !== undefined && isArithmetic(value);
}

function isArithmetic(node: SyntaxNode): boolean {
  if (isNumber(node)) return true;
  const [left, right] = [childOf(node, "left"), childOf(node, "right")];
  if (node.type === "TSAsExpression") return isArithmetic(childOf(node, "expression") ?? { ...node, type: "" });
  if (node.type !== "BinaryExpression" || left === undefined || right === undefined) return false;
  return isArithmetic(left) && isArithmetic(right);
}

function constant(node: SyntaxNode, source: string): readonly Change[] {
  const value = childOf(node, node.type === "VariableDeclarator" ? "init" : "value");
  const text = textOf(value, source);
  if (value === undefined || text === undefined) return [];
  const others = text === "0" ? ["1"] : [`(${text}) * 1000`, "0", `(${text}) + 1`, `(${text}) - 1`];
  return others.flatMap((other) => replace(value, other));
}

function literal(node: SyntaxNode, _parents: readonly SyntaxNode[], source: string): readonly Change[] {
  const { value } = node;
  if (typeof value === "boolean") return replace(node, String(!value));
  if (typeof value === "number") return numbersBeside(value).flatMap((other) => replace(node, String(other)));
  if (value instanceof RegExp || "regex" in node) return patterns(node, source);
  return [];
}

function numbersBeside(value: number): readonly number[] {
  if (!Number.isInteger(value)) return [0, value * 1000];
  const beside = value === 0 ? [1] : [value + 1, value - 1];
  return value >= 10 ? [...beside, 0, value * 1000] : beside;
}

/** A pattern that is not held to the beginning, to the end, or to upper and lower case. */
function patterns(node: SyntaxNode, source: string): readonly Change[] {
  const text = source.slice(node.start, node.end);
  const end = text.lastIndexOf("/");
  const [body, flags] = [text.slice(1, end), text.slice(end + 1)];
  return [
    ...(body.startsWith("^") ? replace(node, `/${body.slice(1)}/${flags}`) : []),
    ...(body.endsWith("$") && !body.endsWith("\\$") ? replace(node, `/${body.slice(0, -1)}/${flags}`) : []),
    ...(flags.includes("i") ? replace(node, `/${body}/${flags.replace("i", "")}`) : []),
  ];
}
