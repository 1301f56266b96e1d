import { ConnectError, type ErrorCode, toConnectError } from "@cluster-connect/protocol";
import { compileExpression, type Expression, type ExpressionScope } from "../cel/expression.ts";
import { ownClaim } from "../tokens/claims.ts";
import type { Claims, MappedIdentity } from "../tokens/principal.ts";
import type { ConfigReader } from "./config-reader.ts";

/** `claimValidationRules` compiled. */
export interface ClaimRules {
  /** @throws ConnectError `CC_TOKEN_INVALID` naming the first rule that does not hold. */
  readonly check: (claims: Claims) => void;
  /** Claims that the rules' expressions select. */
  readonly claims: ReadonlySet<string>;
}

interface Rule {
  readonly expression?: Expression;
  readonly holds: (value: Readonly<Record<string, unknown>>) => boolean;
  /** Why not, for the caller. */
  readonly message: string;
}

/** @returns Rules that check claims in the file's order. */
export function readClaimRules(entry: ConfigReader): ClaimRules {
  const rules = entry.objects("claimValidationRules").flatMap((rule, index, all) => {
    const read = readClaimRule(rule);
    const earlier = all.slice(0, index);
    for (const field of ["claim", "expression"]) {
      const text = rule.text(field) ?? "";
      if (text !== "" && earlier.some((other) => other.text(field) === text)) rule.fail("is listed twice", field);
    }
    rule.end();
    return read === undefined ? [] : [read];
  });
  return {
    check: (claims) => assertAll(rules, claims, "CC_TOKEN_INVALID", "The token is refused by a rule about its claims"),
    claims: new Set(rules.flatMap((rule) => [...(rule.expression?.claims ?? [])])),
  };
}

/** @returns A check of the mapped user. @throws ConnectError `CC_IDENTITY_REFUSED` from that check. */
export function readUserRules(entry: ConfigReader): (identity: MappedIdentity) => void {
  const rules = entry.objects("userValidationRules").flatMap((rule, index, all) => {
    const source = rule.text("expression") ?? "";
    if (source === "") rule.fail("is required", "expression");
    if (source !== "" && all.slice(0, index).some((other) => other.text("expression") === source)) {
      rule.fail("is listed twice", "expression");
    }
    const compiled = source === "" ? undefined : expressionRule(rule, source, "user");
    rule.end();
    return compiled === undefined ? [] : [compiled];
  });
  return ({ username, uid = "", groups, extra }) =>
    assertAll(rules, { username, uid, groups, extra }, "CC_IDENTITY_REFUSED", "The caller's identity is refused");
}

function readClaimRule(rule: ConfigReader): Rule | undefined {
  const claim = rule.text("claim") ?? "";
  const source = rule.text("expression") ?? "";
  const requiredValue = rule.text("requiredValue") ?? "";
  const message = rule.text("message") ?? "";
  if (claim !== "" && source !== "") rule.fail("claim and expression cannot both be set");
  else if (claim === "" && source === "") rule.fail("claim or expression is required");
  if (claim !== "" && message !== "") rule.fail("cannot be set with claim", "message");
  if (source !== "" && requiredValue !== "") rule.fail("cannot be set with expression", "requiredValue");
  if (source !== "") return expressionRule(rule, source, "claims");
  return {
    holds: (claims) => ownClaim(claims, claim) === requiredValue,
    message: `the claim ${claim} does not have the required value`,
  };
}

function expressionRule(rule: ConfigReader, source: string, scope: ExpressionScope): Rule | undefined {
  const message = rule.text("message") ?? "";
  const expression = readExpression(rule, "expression", source, scope);
  if (expression === undefined) return undefined;
  if (expression.type !== "bool") rule.fail("must be of type bool; compare the value, as in == true", "expression");
  return {
    expression,
    holds: (value) => expression.evaluate(value) === true,
    message: message === "" ? `${rule.path.replace(/^.*\./, "")} does not hold` : message,
  };
}

/** Compiles a field's expression; a fault in it is noted as a problem. */
export function readExpression(
  reader: ConfigReader,
  name: string,
  source: string,
  scope: ExpressionScope,
): Expression | undefined {
  try {
    return compileExpression(source, scope);
  } catch (error) {
    reader.fail(toConnectError(error).message, name);
    return undefined;
  }
}

function assertAll(
  rules: readonly Rule[],
  value: Readonly<Record<string, unknown>>,
  code: ErrorCode,
  prefix: string,
): void {
  for (const rule of rules) {
    if (!holds(rule, value)) throw new ConnectError(code, `${prefix}: ${rule.message}`);
  }
}

/** A rule that cannot be evaluated does not hold. */
function holds(rule: Rule, value: Readonly<Record<string, unknown>>): boolean {
  try {
    return rule.holds(value);
  } catch {
    return false;
  }
}
