import { ConnectError } from "@cluster-connect/protocol";
import type { Expression } from "../cel/expression.ts";
import { extraKeyFault } from "../headers/extra-key.ts";
import {
  type GroupOverage,
  groupsFromClaim,
  refuseGroupOverage,
  textList,
  uidFromClaim,
  usernameFromClaim,
} from "../tokens/claims.ts";
import type { Claims, MappedIdentity } from "../tokens/principal.ts";
import type { ConfigReader } from "./config-reader.ts";
import { readExpression } from "./validation-rules.ts";

/** One attribute: how to read it from claims, and which claims that looks at. */
interface Attribute<T> {
  readonly read: (claims: Claims) => T;
  readonly claims: ReadonlySet<string>;
}

/**
 * `claimMappings` compiled.
 *
 * @param checkedClaims Claims that validation rules look at; one must be `email_verified` when an expression makes the
 *   username from `email`.
 */
export function readIdentityMapping(
  entry: ConfigReader,
  overage: GroupOverage,
  checkedClaims: ReadonlySet<string>,
): (claims: Claims) => MappedIdentity {
  const mappings = entry.object("claimMappings");
  if (mappings === undefined) {
    entry.fail("is required", "claimMappings");
    return noIdentity;
  }
  const username = readUsername(mappings);
  const groups = readGroups(mappings);
  const uid = readUid(mappings);
  const extra = readExtra(mappings);
  mappings.end();
  if (username?.byExpression && username.claims.has("email")) {
    const seen = [username.claims, checkedClaims, ...extra.map((value) => value.claims)];
    if (!seen.some((claims) => claims.has("email_verified"))) {
      mappings.fail("uses claims.email: an expression must use claims.email_verified too", "username.expression");
    }
  }
  return (claims) => {
    if (overage === "refuse") for (const claim of groups?.claims ?? []) refuseGroupOverage(claims, claim);
    const found = uid?.read(claims);
    return {
      username: username?.read(claims) ?? noIdentity().username,
      groups: groups?.read(claims) ?? [],
      ...(found === undefined ? {} : { uid: found }),
      extra: Object.fromEntries(
        extra.map(({ key, read }) => [key, read(claims)] as const).filter(([, values]) => values.length > 0),
      ),
    };
  };
}

function readUsername(mappings: ConfigReader): (Attribute<string> & { byExpression: boolean }) | undefined {
  const reader = mappings.object("username");
  const source = reader === undefined ? undefined : readSource(reader);
  if (source === undefined) {
    if (reader === undefined) mappings.fail("is required", "username");
    else if (isBlank(reader)) reader.fail("claim or expression is required");
    return undefined;
  }
  if (source.kind === "claim") {
    return {
      read: (claims) => usernameFromClaim(claims, source),
      claims: new Set([source.claim]),
      byExpression: false,
    };
  }
  const { expression } = source;
  return { read: (claims) => text(expression, claims, "username"), claims: expression.claims, byExpression: true };
}

function readGroups(mappings: ConfigReader): Attribute<readonly string[]> | undefined {
  const reader = mappings.object("groups");
  const source = reader === undefined ? undefined : readSource(reader);
  if (source === undefined) return undefined;
  if (source.kind === "claim") {
    return { read: (claims) => groupsFromClaim(claims, source), claims: new Set([source.claim]) };
  }
  const { expression } = source;
  return {
    read: (claims) => textList(expression.evaluate(claims), "the groups expression"),
    claims: expression.claims,
  };
}

function readUid(mappings: ConfigReader): Attribute<string> | undefined {
  const reader = mappings.object("uid");
  if (reader === undefined) return undefined;
  const claim = reader.text("claim") ?? "";
  const source = reader.text("expression") ?? "";
  reader.end();
  if (claim !== "" && source !== "") reader.fail("claim and expression cannot both be set");
  if (claim !== "") return { read: (claims) => uidFromClaim(claims, claim), claims: new Set([claim]) };
  const expression = source === "" ? undefined : readExpression(reader, "expression", source, "claims");
  if (expression === undefined) return undefined;
  return { read: (claims) => text(expression, claims, "uid"), claims: expression.claims };
}

function readExtra(mappings: ConfigReader): readonly (Attribute<readonly string[]> & { readonly key: string })[] {
  const seen = new Set<string>();
  return mappings.objects("extra").flatMap((reader) => {
    const key = reader.text("key") ?? "";
    const source = reader.text("valueExpression") ?? "";
    reader.end();
    const fault = extraKeyFault(key);
    if (fault !== undefined) reader.fail(fault, "key");
    if (seen.has(key)) reader.fail("is listed twice", "key");
    seen.add(key);
    if (source === "") reader.fail("is required", "valueExpression");
    const expression = source === "" ? undefined : readExpression(reader, "valueExpression", source, "claims");
    if (expression === undefined) return [];
    const read = (claims: Claims) => textList(expression.evaluate(claims), `the extra ${key}`);
    return [{ key, read, claims: expression.claims }];
  });
}

type Source =
  | { readonly kind: "claim"; readonly claim: string; readonly prefix: string }
  | { readonly kind: "expression"; readonly expression: Expression };

/** `{claim, prefix}` or `{expression}`. */
function readSource(reader: ConfigReader): Source | undefined {
  const claim = reader.text("claim") ?? "";
  const prefix = reader.text("prefix");
  const source = reader.text("expression") ?? "";
  reader.end();
  if (claim !== "" && source !== "") reader.fail("claim and expression cannot both be set");
  if (source !== "") {
    if (prefix !== undefined) reader.fail("cannot be set with expression", "prefix");
    const expression = readExpression(reader, "expression", source, "claims");
    return expression === undefined ? undefined : { kind: "expression", expression };
  }
  if (claim === "") return undefined;
  if (prefix === undefined) reader.fail('is required with claim; "" for none', "prefix");
  return { kind: "claim", claim, prefix: prefix ?? "" };
}

function isBlank(reader: ConfigReader): boolean {
  return (reader.text("claim") ?? "") === "" && (reader.text("expression") ?? "") === "";
}

function text(expression: Expression, claims: Claims, attribute: string): string {
  const value = expression.evaluate(claims);
  if (typeof value === "string" && value !== "") return value;
  const what = value === "" ? "is empty" : "is not a string";
  throw new ConnectError(
    "CC_IDENTITY_REFUSED",
    `The caller's identity is refused: the ${attribute} expression ${what}`,
  );
}

function noIdentity(): MappedIdentity {
  throw new ConnectError("CC_INTERNAL", "A configuration with problems was used");
}
