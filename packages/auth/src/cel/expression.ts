import { ConnectError } from "@cluster-connect/protocol";
import { type ASTNode, Environment, EvaluationError, Optional, serialize } from "@marcbachmann/cel-js";
import { isObject } from "../json.ts";
import { MAX_EXPRESSION_BYTES, MAX_EXPRESSION_COST, MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_NODES } from "../limits.ts";
import { registerFunctions } from "./functions.ts";
import { compilePattern } from "./pattern.ts";
import { expressionCost, loopsOf, nodesOf } from "./tree.ts";

/** The subject of an expression: the token's claims, or the user they were mapped to. */
export type ExpressionScope = "claims" | "user";

/** A compiled CEL expression. */
export interface Expression {
  readonly source: string;
  /** Static type, `dyn` where only the value tells. */
  readonly type: string;
  /** Top-level claims it selects by name: `claims.x`, `claims.?x`, `claims["x"]`. */
  readonly claims: ReadonlySet<string>;
  /**
   * @returns The value; an empty optional is undefined, whole numbers are bigint.
   * @throws ConnectError `CC_IDENTITY_REFUSED` when it cannot be evaluated or would cost too much.
   */
  evaluate(value: Readonly<Record<string, unknown>>): unknown;
}

/** The name of our own `matches`. */
const LINEAR_MATCHES = "matchesLinear";

const ENVIRONMENTS: Readonly<Record<ExpressionScope, Environment>> = {
  claims: environment().registerVariable("claims", "map<string, dyn>"),
  user: environment().registerVariable("user", {
    schema: { username: "string", uid: "string", groups: "list<string>", extra: "map<string, list<string>>" },
  }),
};

/**
 * Compiles and type-checks an expression.
 *
 * Regular expressions run on RE2 in linear time, as in Kubernetes, not on JavaScript's backtracking engine.
 *
 * @throws ConnectError `CC_CONFIG_INVALID` with the compiler's reason in one line.
 */
export function compileExpression(source: string, scope: ExpressionScope): Expression {
  if (source.trim() === "") throw invalidExpression("is empty");
  if (Buffer.byteLength(source) > MAX_EXPRESSION_BYTES)
    throw invalidExpression(`has more than ${MAX_EXPRESSION_BYTES} bytes`);
  const tree = parseTree(source, scope);
  const nodes = nodesOf(tree);
  if (nodes.some((node) => node.op === "id" && node.args === "cel"))
    throw invalidExpression("uses cel.bind, which is not taken");
  for (const node of nodes) useLinearMatches(node);
  const program = ENVIRONMENTS[scope].parse(serialize(tree));
  const { valid, type, error } = program.check();
  if (!valid || type === undefined) throw invalidExpression(firstLine(error));
  const shape = { nodes: nodes.length, loops: loopsOf(tree) };
  return {
    source,
    type,
    claims: new Set(nodes.flatMap(selectedClaim)),
    evaluate(value) {
      if (expressionCost(shape, value) > MAX_EXPRESSION_COST) throw refusedEvaluation("costs too much for this token");
      try {
        const result: unknown = program({ [scope]: withBigInts(value) });
        return result instanceof Optional ? (result.hasValue() ? result.value() : undefined) : result;
      } catch (error) {
        if (error instanceof ConnectError) throw error;
        throw refusedEvaluation(`cannot be evaluated (${error instanceof EvaluationError ? error.code : "internal"})`);
      }
    },
  };
}

function environment(): Environment {
  const plain = new Environment({
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: MAX_EXPRESSION_NODES, maxDepth: MAX_EXPRESSION_DEPTH },
  });
  return registerFunctions(plain).registerFunction(`string.${LINEAR_MATCHES}(string): bool`, matchesLinear);
}

const PATTERN_FUNCTIONS: ReadonlySet<string> = new Set(["matches", "find", "findAll"]);

/** Turns a call of `matches` into one of ours. @throws ConnectError when a pattern is a literal and wrong. */
function useLinearMatches(node: ASTNode): void {
  if (node.op !== "rcall" || !PATTERN_FUNCTIONS.has(node.args[0])) return;
  if (node.args[0] === "matches") node.args[0] = LINEAR_MATCHES;
  const [pattern] = node.args[2];
  if (pattern?.op !== "value" || typeof pattern.args !== "string") return;
  if (compilePattern(pattern.args) === undefined) throw invalidExpression(WRONG_PATTERN);
}

const WRONG_PATTERN = "has a regular expression that is too long or that RE2 does not take";

function matchesLinear(text: string, pattern: string): boolean {
  const compiled = compilePattern(pattern);
  if (compiled === undefined) throw refusedEvaluation(WRONG_PATTERN);
  return compiled.test(text);
}

function parseTree(source: string, scope: ExpressionScope): ASTNode {
  try {
    return ENVIRONMENTS[scope].parse(source).ast;
  } catch (error) {
    throw invalidExpression(firstLine(error));
  }
}

function selectedClaim(node: ASTNode): readonly string[] {
  if (node.op !== "." && node.op !== ".?" && node.op !== "[]" && node.op !== "[?]") return [];
  const [operand, field] = node.args;
  if (operand.op !== "id" || operand.args !== "claims") return [];
  if (typeof field === "string") return [field];
  return field.op === "value" && typeof field.args === "string" ? [field.args] : [];
}

/** JSON knows one kind of number; CEL's int is what `claims.exp + 3600` means. */
function withBigInts(value: unknown): unknown {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  if (Array.isArray(value)) return value.map(withBigInts);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, withBigInts(entry)]));
}

function firstLine(error: unknown): string {
  return error instanceof Error ? (error.message.split("\n")[0] ?? "") : "is not a CEL expression";
}

function invalidExpression(reason: string): ConnectError {
  return new ConnectError("CC_CONFIG_INVALID", `The expression is wrong: ${reason}`);
}

function refusedEvaluation(reason: string): ConnectError {
  return new ConnectError("CC_IDENTITY_REFUSED", `The caller's identity is refused: an expression ${reason}`);
}
