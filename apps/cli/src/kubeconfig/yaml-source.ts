import {
  Document,
  type DocumentOptions,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  Pair,
  type ParseOptions,
  parseAllDocuments,
  Scalar,
  type ScalarTag,
  type SchemaOptions,
  visit,
  YAMLMap,
  YAMLSeq,
} from "yaml";

/** A value that is written into a file. */
export type SourceValue = string | boolean | readonly SourceValue[] | { readonly [key: string]: SourceValue };

/** The first document of a text, and the text behind it. */
export interface YamlSource {
  readonly document: Document;
  /** Further documents as they are: kubectl does not read them. */
  readonly rest: string;
}

/** The fault of a text, and its place. */
export interface YamlProblem {
  readonly line: number;
  /** In words, without anything of the text. */
  readonly reason: string;
}

/** Characters that a reader of YAML 1.1 takes for line breaks or refuses, though YAML 1.2 lets them stand. */
const UNREADABLE = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;
/** Text that no reader takes for a number, a date, a truth value or syntax, and no reader has to quote. */
const PLAIN = /^(?:--)?[A-Za-z/][\w./@=+~-]*(?::[\w./@=+~-]+)*$/;
/** Words that YAML 1.1, which kubectl reads, takes for truth values or nothing. */
const WORDS = /^(?:y|n|yes|no|on|off|true|false|null)$/i;
const NULLS = /^(?:~|null|Null|NULL|)$/;

/** Scalars are kept as they are written: a number that is longer than JavaScript's, or begins with 0, stays so. */
const OPTIONS: ParseOptions & DocumentOptions & SchemaOptions = {
  schema: "failsafe",
  merge: false,
  uniqueKeys: false,
  prettyErrors: true,
  customTags: (tags) => tags.map((tag) => (isStringTag(tag) ? quotingTag(tag) : tag)),
};

function isStringTag(tag: unknown): tag is ScalarTag {
  return typeof tag === "object" && tag !== null && "tag" in tag && tag.tag === "tag:yaml.org,2002:str";
}

function quotingTag(tag: ScalarTag): ScalarTag {
  return {
    ...tag,
    stringify(item, context, onComment, onChompKeep) {
      const { value } = item;
      if (typeof value === "string" && value.search(UNREADABLE) >= 0) return quoted(value);
      return tag.stringify?.(item, context, onComment, onChompKeep) ?? quoted(String(value));
    },
  };
}

function quoted(text: string): string {
  return JSON.stringify(text).replaceAll(
    UNREADABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * Reads what kubectl reads: the first document; of a key that is there twice, the last.
 *
 * @returns undefined for an empty text.
 */
export function parseYamlSource(text: string): YamlSource | YamlProblem | undefined {
  const documents = parseAllDocuments(text, OPTIONS);
  const document: Document | undefined = Array.isArray(documents) ? documents[0] : undefined;
  if (document === undefined) return undefined;
  const [problem] = document.errors;
  if (problem !== undefined) {
    const reason = problem.code.toLowerCase().replaceAll("_", " ");
    return { line: problem.linePos?.[0].line ?? 1, reason };
  }
  return { document, rest: text.slice(document.range?.[2] ?? text.length) };
}

/** A document that holds nothing but these values. */
export function newYamlDocument(value: { readonly [key: string]: SourceValue }): Document {
  const document = new Document(null, OPTIONS);
  document.contents = nodeOf(value);
  return document;
}

/** A value as it is written, quoted wherever some reader would take it for something else. */
export function nodeOf(value: SourceValue): Node {
  if (typeof value === "string") {
    const scalar = new Scalar(value);
    scalar.type = PLAIN.test(value) && !WORDS.test(value) ? "PLAIN" : "QUOTE_DOUBLE";
    return scalar;
  }
  if (typeof value === "boolean") return new Scalar(String(value));
  if (isList(value)) {
    const list = new YAMLSeq();
    list.items = value.map(nodeOf);
    return list;
  }
  const map = new YAMLMap();
  for (const [key, field] of Object.entries(value)) map.items.push(new Pair(nodeOf(key), nodeOf(field)));
  return map;
}

function isList(value: SourceValue): value is readonly SourceValue[] {
  return Array.isArray(value);
}

/** A scalar's text; undefined for nothing, such as `~`, and for other nodes. */
export function textOf(node: unknown): string | undefined {
  if (!isScalar(node) || typeof node.value !== "string") return undefined;
  return isPlain(node) && NULLS.test(node.value) ? undefined : node.value;
}

/** Whether a key's value is nothing: it is not there, empty, or `null`. */
export function isNothing(node: unknown): boolean {
  return node === undefined || node === null || (isScalar(node) && textOf(node) === undefined);
}

function isPlain(node: Scalar): boolean {
  return node.type === undefined || node.type === "PLAIN";
}

/** Follows an alias. */
export function resolved(node: unknown, document: Document): unknown {
  return isAlias(node) ? node.resolve(document) : node;
}

/** A field's value, through aliases and merges (`<<`). */
export function fieldOfMap(map: unknown, key: string, document: Document): unknown {
  if (!isMap(map)) return undefined;
  const pair = lastPair(map, key);
  if (pair !== undefined) return resolved(pair.value, document);
  const merged = resolved(lastPair(map, "<<")?.value, document);
  for (const source of isSeq(merged) ? merged.items : [merged]) {
    const found = fieldOfMap(resolved(source, document), key, document);
    if (found !== undefined) return found;
  }
  return undefined;
}

function lastPair(map: YAMLMap, key: string): Pair | undefined {
  return map.items.findLast((pair) => isScalar(pair.key) && pair.key.value === key);
}

/** Sets a field where kubectl reads it. */
export function setField(map: YAMLMap, key: string, value: Node): void {
  const pair = lastPair(map, key);
  if (pair === undefined) {
    map.items.push(new Pair(nodeOf(key), value));
    return;
  }
  // A comment beside the old value is about the key.
  if (isScalar(pair.value) && isScalar(value) && pair.value.comment) value.comment = pair.value.comment;
  pair.value = value;
}

/** Removes a field, however often it is there. */
export function deleteField(map: YAMLMap, key: string): void {
  map.items = map.items.filter((pair) => !(isScalar(pair.key) && pair.key.value === key));
}

/** A field that can be changed without changing what other places mean by the same alias or anchor. */
export function ownField(map: YAMLMap, key: string, document: Document): unknown {
  const pair = lastPair(map, key);
  if (pair === undefined) return undefined;
  pair.value = ownNode(pair.value, document);
  return pair.value;
}

/** A node that no alias shares: a copy in place of an alias, and copies in place of aliases of an anchor. */
export function ownNode(node: unknown, document: Document): unknown {
  if (isAlias(node)) {
    const shared = node.resolve(document);
    return shared === undefined ? node : copyOf(shared);
  }
  if ((isMap(node) || isSeq(node)) && node.anchor !== undefined) {
    visit(document, {
      Alias: (_, alias) => (alias.resolve(document) === node ? copyOf(node) : undefined),
    });
    delete node.anchor;
  }
  return node;
}

function copyOf(node: Node): Node {
  const copy = node.clone();
  if (isMap(copy) || isSeq(copy)) delete copy.anchor;
  return isNodeCopy(copy) ? copy : node;
}

function isNodeCopy(value: unknown): value is Node {
  return isMap(value) || isSeq(value) || isScalar(value);
}

/** The document as JSON, every number with the digits it had. */
export function toJsonText(node: unknown, document: Document, indent = ""): string {
  const value = resolved(node, document);
  const inner = `${indent}  `;
  if (isSeq(value)) {
    const items = value.items.map((item) => `${inner}${toJsonText(item, document, inner)}`);
    return items.length === 0 ? "[]" : `[\n${items.join(",\n")}\n${indent}]`;
  }
  if (isMap(value)) {
    const fields = value.items.map(
      ({ key, value: field }) => `${inner}${JSON.stringify(String(key))}: ${toJsonText(field, document, inner)}`,
    );
    return fields.length === 0 ? "{}" : `{\n${fields.join(",\n")}\n${indent}}`;
  }
  if (!isScalar(value)) return "null";
  const text = String(value.value);
  return isPlain(value) && isJsonScalar(text) ? text : JSON.stringify(text);
}

function isJsonScalar(text: string): boolean {
  return /^(?:null|true|false|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)$/.test(text);
}
