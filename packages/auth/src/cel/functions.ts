import { isDeepStrictEqual } from "node:util";
import type { Environment } from "@marcbachmann/cel-js";
import { compilePattern } from "./pattern.ts";

/** A value of CEL as this library holds it. */
type Value = unknown;

class Sets {}

/**
 * The functions that Kubernetes has beside CEL's own and that an identity is likely to be mapped with: strings, lists,
 * sets and regular expressions. Not taken, because a claim has no use for them: URLs, IP addresses, CIDR, quantities,
 * formats, semantic versions and two-variable comprehensions. A file that uses one is refused.
 *
 * @see k8s.io/apiserver/pkg/cel/environment/base.go
 */
export function registerFunctions(environment: Environment): Environment {
  return environment
    .registerFunction("string.find(string): string", (text: string, pattern: string) => find(text, pattern)[0] ?? "")
    .registerFunction("string.findAll(string): list<string>", (text: string, pattern: string) => find(text, pattern))
    .registerFunction("string.findAll(string, int): list<string>", (text: string, pattern: string, limit: bigint) =>
      limit < 0n ? find(text, pattern) : find(text, pattern).slice(0, Number(limit)),
    )
    .registerFunction("string.charAt(int): string", (text: string, index: bigint) => charAt(text, index))
    .registerFunction("string.replace(string, string): string", (text: string, old: string, next: string) =>
      text.replaceAll(old, () => next),
    )
    .registerFunction(
      "string.replace(string, string, int): string",
      (text: string, old: string, next: string, limit: bigint) => replaceSome(text, old, next, limit),
    )
    .registerFunction("list.isSorted(): bool", (list: readonly Value[]) => isSorted(list))
    .registerFunction("list.min(): dyn", (list: readonly Value[]) => extreme(list, -1))
    .registerFunction("list.max(): dyn", (list: readonly Value[]) => extreme(list, 1))
    .registerFunction("list.indexOf(dyn): int", (list: readonly Value[], value: Value) =>
      BigInt(list.findIndex((entry) => isDeepStrictEqual(entry, value))),
    )
    .registerFunction("list.lastIndexOf(dyn): int", (list: readonly Value[], value: Value) =>
      BigInt(list.findLastIndex((entry) => isDeepStrictEqual(entry, value))),
    )
    .registerFunction("list.distinct(): list", (list: readonly Value[]) => distinct(list))
    .registerType("Sets", Sets)
    .registerConstant("sets", "Sets", new Sets())
    .registerFunction("Sets.contains(list, list): bool", (_: Sets, list: readonly Value[], part: readonly Value[]) =>
      containsAll(list, part),
    )
    .registerFunction(
      "Sets.equivalent(list, list): bool",
      (_: Sets, a: readonly Value[], b: readonly Value[]) => containsAll(a, b) && containsAll(b, a),
    )
    .registerFunction("Sets.intersects(list, list): bool", (_: Sets, a: readonly Value[], b: readonly Value[]) =>
      intersects(a, b),
    );
}

function find(text: string, pattern: string): readonly string[] {
  const compiled = compilePattern(pattern);
  if (compiled === undefined) throw new RangeError("the pattern is too long or not taken");
  const matcher = compiled.matcher(text);
  const found: string[] = [];
  while (matcher.find()) found.push(matcher.group() ?? "");
  return found;
}

/** Counts characters, not UTF-16 units; one behind the last is "". */
function charAt(text: string, index: bigint): string {
  const characters = [...text];
  if (index < 0n || index > BigInt(characters.length)) throw new RangeError("no such character");
  return characters[Number(index)] ?? "";
}

function replaceSome(text: string, old: string, next: string, limit: bigint): string {
  let left = limit;
  return text.replaceAll(old, (match) => {
    if (left === 0n) return match;
    left -= 1n;
    return next;
  });
}

function compare(a: Value, b: Value): number {
  if ((typeof a === "string" && typeof b === "string") || (typeof a === "bigint" && typeof b === "bigint")) {
    return a < b ? -1 : a > b ? 1 : 0;
  }
  if (typeof a === "number" && typeof b === "number") return a - b;
  throw new TypeError("these values have no order");
}

function isSorted(list: readonly Value[]): boolean {
  return list.every((value, index) => index === 0 || compare(list[index - 1], value) <= 0);
}

function extreme(list: readonly Value[], sign: 1 | -1): Value {
  if (list.length === 0) throw new RangeError("an empty list has none");
  return list.reduce((best, value) => (compare(value, best) * sign > 0 ? value : best));
}

/** Lists and maps among the values of a set; each is compared with each, and a token has room for many thousands. */
const MAX_COMPARED_VALUES = 1_000;

/** Values as a set: texts and numbers are looked up, lists and maps compared. */
class ValueSet {
  readonly #plain = new Set<Value>();
  readonly #compared: Value[] = [];

  constructor(values: readonly Value[] = []) {
    for (const value of values) this.add(value);
  }

  has(value: Value): boolean {
    if (isPlain(value)) return this.#plain.has(value);
    return this.#compared.some((entry) => isDeepStrictEqual(entry, value));
  }

  /** @throws RangeError for more lists and maps than may be compared. */
  add(value: Value): void {
    if (isPlain(value)) this.#plain.add(value);
    else if (this.#compared.push(value) > MAX_COMPARED_VALUES) throw new RangeError("too many lists or maps in a set");
  }
}

function isPlain(value: Value): boolean {
  return value === null || typeof value !== "object";
}

function distinct(list: readonly Value[]): readonly Value[] {
  const seen = new ValueSet();
  return list.filter((value) => {
    if (seen.has(value)) return false;
    seen.add(value);
    return true;
  });
}

function containsAll(list: readonly Value[], part: readonly Value[]): boolean {
  const values = new ValueSet(list);
  return part.every((value) => values.has(value));
}

function intersects(a: readonly Value[], b: readonly Value[]): boolean {
  const values = new ValueSet(b);
  return a.some((value) => values.has(value));
}
