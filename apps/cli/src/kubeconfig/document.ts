import { ConnectError } from "@cluster-connect/protocol";
import { type Document, isMap, isScalar, isSeq, type YAMLMap, YAMLSeq } from "yaml";
import { clusterValue, contextValue, type KubeconfigEntry, OWN_PREFIX, userValue } from "./entry.ts";
import {
  deleteField,
  fieldOfMap,
  isNothing,
  newYamlDocument,
  nodeOf,
  ownField,
  ownNode,
  parseYamlSource,
  resolved,
  type SourceValue,
  setField,
  textOf,
  toJsonText,
  type YamlSource,
} from "./yaml-source.ts";

/**
 * A kubeconfig that is changed in place: comments, order, unknown fields and other people's entries stay, each value as
 * it was written.
 */
export interface KubeconfigDocument {
  /** Undefined when the file does not say. */
  readonly currentContext: string | undefined;
  readonly changed: boolean;
  /** Whether there is no entry at all. */
  readonly isEmpty: boolean;
  /**
   * Adds or replaces the entries and makes the first one current.
   *
   * @throws ConnectError `CC_KUBECONFIG_INVALID` when a context of that name is not ours.
   */
  add(entries: readonly KubeconfigEntry[]): void;
  /**
   * Removes clusters, users and contexts of ours.
   *
   * @param former the value of {@link currentContext} before; it is so again when one of ours was current.
   */
  remove(names: readonly string[], former: string | undefined): void;
  /** Makes a context current; undefined removes the choice. */
  use(context: string | undefined): void;
  hasContext(name: string): boolean;
  /** Whether there is a context of that name which was not made by this tool. */
  hasForeignContext(name: string): boolean;
  hasCluster(name: string): boolean;
  /** The local port that one of our clusters leads to. */
  portOf(name: string): number | undefined;
  toString(): string;
}

type Kind = "cluster" | "context" | "user";
const KINDS: readonly Kind[] = ["cluster", "context", "user"];

/**
 * Reads a kubeconfig as kubectl does.
 *
 * @param path for messages.
 * @throws ConnectError `CC_KUBECONFIG_INVALID` naming the file and the line or field that is wrong.
 */
export function parseKubeconfig(text: string, path: string): KubeconfigDocument {
  const { document, rest } = parseSource(text, path);
  const root = rootOf(document, path);
  const lists = createLists(document, root, path);
  let changed = false;

  function clusterOfContext(item: unknown): string {
    return textOf(fieldOfMap(fieldOfMap(item, "context", document), "cluster", document)) ?? "";
  }

  function isForeign(name: string): boolean {
    const found = lists.find("context", name);
    return found !== undefined && !clusterOfContext(found).startsWith(OWN_PREFIX);
  }

  function makeCurrent(context: string | undefined): void {
    if (context === undefined) deleteField(root, "current-context");
    else setField(root, "current-context", nodeOf(context));
  }

  return {
    get currentContext() {
      const value = fieldOfMap(root, "current-context", document);
      return value === undefined ? undefined : (textOf(value) ?? "");
    },
    get changed() {
      return changed;
    },
    get isEmpty() {
      return KINDS.every((kind) => lists.items(kind).length === 0);
    },
    add(entries) {
      changed ||= entries.length > 0;
      for (const entry of entries) {
        if (isForeign(entry.context)) throw foreignContext(path, entry.context);
        lists.put("cluster", entry.name, clusterValue(entry), false);
        lists.put("user", entry.name, userValue(entry), false);
        lists.put("context", entry.context, contextValue(entry), true);
      }
      const [first] = entries;
      if (first !== undefined) makeCurrent(first.context);
    },
    remove(names, former) {
      const ours = new Set(names.filter((name) => name.startsWith(OWN_PREFIX)));
      const isOurs = (item: unknown): boolean => ours.has(textOf(fieldOfMap(item, "name", document)) ?? "");
      const removed = lists.drop("context", (item) => ours.has(clusterOfContext(item)));
      const dropped = [removed, lists.drop("cluster", isOurs), lists.drop("user", isOurs)];
      changed ||= dropped.some((some) => some.length > 0);
      const current = textOf(fieldOfMap(root, "current-context", document));
      if (!removed.some((item) => textOf(fieldOfMap(item, "name", document)) === current)) return;
      if (former === undefined) makeCurrent(undefined);
      else makeCurrent(lists.find("context", former) === undefined ? "" : former);
    },
    use(context) {
      changed = true;
      makeCurrent(context);
    },
    hasContext: (name) => lists.find("context", name) !== undefined,
    hasForeignContext: isForeign,
    hasCluster: (name) => lists.find("cluster", name) !== undefined,
    portOf(name) {
      const cluster = fieldOfMap(lists.find("cluster", name), "cluster", document);
      const server = textOf(fieldOfMap(cluster, "server", document));
      const port = server === undefined ? undefined : URL.parse(server)?.port;
      return port === undefined || port === "" ? undefined : Number(port);
    },
    toString: () => write(document, text, rest),
  };
}

/** The lists of clusters, contexts and users, as kubectl finds them. */
interface NamedLists {
  items(kind: Kind): readonly unknown[];
  find(kind: Kind, name: string): YAMLMap | undefined;
  /** Adds or replaces one; `keeps` leaves other fields of it as they are. */
  put(kind: Kind, name: string, value: Readonly<Record<string, SourceValue>>, keeps: boolean): void;
  /** Takes some out, and returns them. */
  drop(kind: Kind, isUnwanted: (item: unknown) => boolean): readonly unknown[];
}

function createLists(document: Document, root: YAMLMap, path: string): NamedLists {
  function listOf(kind: Kind): YAMLSeq | undefined {
    const found = fieldOfMap(root, `${kind}s`, document);
    if (isSeq(found)) return found;
    if (isNothing(found)) return undefined;
    throw invalidKubeconfig(path, `${kind}s is not a list`);
  }

  function ownList(kind: Kind): YAMLSeq {
    if (listOf(kind) === undefined) setField(root, `${kind}s`, new YAMLSeq());
    const own = ownField(root, `${kind}s`, document);
    return isSeq(own) ? own : new YAMLSeq();
  }

  const items = (kind: Kind): readonly unknown[] => listOf(kind)?.items.map((item) => resolved(item, document)) ?? [];
  const isNamed = (item: unknown, name: string): boolean => textOf(fieldOfMap(item, "name", document)) === name;

  // A list that is none is told before anything is done.
  for (const kind of KINDS) listOf(kind);

  return {
    items,
    find: (kind, name) => items(kind).find((item): item is YAMLMap => isMap(item) && isNamed(item, name)),
    put(kind, name, value, keeps) {
      const list = ownList(kind);
      const at = items(kind).findIndex((item) => isMap(item) && isNamed(item, name));
      if (at < 0) {
        list.items.push(nodeOf({ name, [kind]: value }));
        return;
      }
      list.items[at] = ownNode(list.items[at], document);
      const item = list.items[at];
      if (!isMap(item)) return;
      const inner = keeps ? ownField(item, kind, document) : undefined;
      if (isMap(inner)) for (const [key, field] of Object.entries(value)) setField(inner, key, nodeOf(field));
      else setField(item, kind, nodeOf(value));
    },
    drop(kind, isUnwanted) {
      const dropped = items(kind).filter(isUnwanted);
      if (dropped.length === 0) return [];
      const list = ownList(kind);
      list.items = list.items.filter((item) => !isUnwanted(resolved(item, document)));
      return dropped;
    },
  };
}

function parseSource(text: string, path: string): YamlSource {
  const source = parseYamlSource(text);
  if (source !== undefined && "reason" in source) {
    throw invalidKubeconfig(path, `line ${source.line} is not YAML (${source.reason})`);
  }
  if (source !== undefined && !isNothing(source.document.contents)) return source;
  return { document: newYamlDocument({ apiVersion: "v1", kind: "Config" }), rest: source?.rest ?? "" };
}

function rootOf(document: Document, path: string): YAMLMap {
  const root = document.contents;
  if (!isMap(root)) throw invalidKubeconfig(path, "it is not a map");
  const kind = fieldOfMap(root, "kind", document);
  if (!isNothing(kind) && !(isScalar(kind) && kind.value === "Config")) {
    throw invalidKubeconfig(path, "its kind is not Config");
  }
  return root;
}

/** In the form that the file had: JSON, indented lists or not, line ends of Windows. */
function write(document: Document, text: string, rest: string): string {
  if (text.trimStart().startsWith("{") && parsesAsJson(text)) return `${toJsonText(document.contents, document)}\n`;
  // kubectl does not indent lists; keep to the file's own style.
  const indentSeq = /^(clusters|contexts|users):[^\n]*\n[ ]+- /m.test(text);
  const written = `${document.toString({ lineWidth: 0, indentSeq })}`;
  const all = rest === "" ? written : `${written.endsWith("\n") ? written : `${written}\n`}${rest}`;
  const isWindows = text.includes("\r\n") && !/(^|[^\r])\n/.test(text);
  return isWindows ? all.replaceAll(/\r?\n/g, "\r\n") : all;
}

function parsesAsJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** `CC_KUBECONFIG_INVALID` for a context that is not ours. */
export function foreignContext(path: string, context: string): ConnectError {
  return new ConnectError(
    "CC_KUBECONFIG_INVALID",
    `${path} has a context ${context} that was not made by cluster-connect`,
    { hint: "Choose another name with --kube-context, or another file with -f." },
  );
}

function invalidKubeconfig(path: string, reason: string): ConnectError {
  return new ConnectError("CC_KUBECONFIG_INVALID", `${path} is no kubeconfig: ${reason}`);
}
