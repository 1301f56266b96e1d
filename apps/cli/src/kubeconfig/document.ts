import { ConnectError } from "@cluster-connect/protocol";
import { Document, isMap, isScalar, isSeq, parseAllDocuments, type YAMLMap, type YAMLSeq } from "yaml";
import { clusterValue, contextValue, type KubeconfigEntry, OWN_PREFIX, userValue } from "./entry.ts";

/** A kubeconfig that is changed in place: comments, order, unknown fields and other people's entries stay. */
export interface KubeconfigDocument {
  /** Undefined when the file does not say. */
  readonly currentContext: string | undefined;
  /** Whether anything was changed. */
  readonly changed: boolean;
  /** Whether there is no entry at all. */
  readonly isEmpty: boolean;
  /**
   * Adds or replaces the entries and makes the first one current.
   *
   * @throws ConnectError `CC_KUBECONFIG_INVALID` when a context of that name is somebody else's.
   */
  add(entries: readonly KubeconfigEntry[]): void;
  /**
   * Removes clusters, users and contexts of ours.
   *
   * @param former is what {@link currentContext} was before; it is so again when one of ours was current.
   */
  remove(names: readonly string[], former: string | undefined): void;
  /** Makes a context current; undefined removes the choice. */
  use(context: string | undefined): void;
  hasContext(name: string): boolean;
  /** The local port that one of our clusters leads to. */
  portOf(name: string): number | undefined;
  toString(): string;
}

type Kind = "cluster" | "context" | "user";
const KINDS: readonly Kind[] = ["cluster", "context", "user"];

/**
 * Reads a kubeconfig.
 *
 * @param path for messages.
 * @throws ConnectError `CC_KUBECONFIG_INVALID` naming the file and the line or field that is wrong.
 */
export function parseKubeconfig(text: string, path: string): KubeconfigDocument {
  const document = parseYaml(text, path);
  const isJson = text.trimStart().startsWith("{") && parsesAsJson(text);
  const root = rootOf(document, path);

  let changed = false;

  function listOf(kind: Kind): YAMLSeq | undefined {
    const found = root.get(`${kind}s`, true);
    if (isSeq(found)) return found;
    if (found === undefined || (isScalar(found) && found.value === null)) return undefined;
    throw invalid(path, `${kind}s is not a list`);
  }

  function newList(kind: Kind): YAMLSeq {
    const list = document.createNode([]);
    root.set(`${kind}s`, list);
    return list;
  }

  function find(kind: Kind, name: string): YAMLMap | undefined {
    return listOf(kind)?.items.find((item): item is YAMLMap => isMap(item) && item.get("name") === name);
  }

  function put(kind: Kind, name: string, value: Readonly<Record<string, unknown>>, keeps: boolean): void {
    const item = find(kind, name);
    if (item === undefined) {
      (listOf(kind) ?? newList(kind)).add(document.createNode({ name, [kind]: value }));
      return;
    }
    const inner = item.get(kind, true);
    if (keeps && isMap(inner)) for (const [key, field] of Object.entries(value)) inner.set(key, field);
    else item.set(kind, document.createNode(value));
  }

  function clusterOfContext(item: unknown): string {
    const context = isMap(item) ? item.get("context") : undefined;
    const cluster = isMap(context) ? context.get("cluster") : undefined;
    return typeof cluster === "string" ? cluster : "";
  }

  function drop(kind: Kind, is: (item: unknown) => boolean): void {
    const list = listOf(kind);
    if (list === undefined) return;
    const kept = list.items.filter((item) => !is(item));
    changed ||= kept.length < list.items.length;
    list.items = kept;
  }

  for (const kind of KINDS) listOf(kind);

  return {
    get currentContext() {
      const value = root.get("current-context");
      return typeof value === "string" ? value : undefined;
    },
    get changed() {
      return changed;
    },
    get isEmpty() {
      return KINDS.every((kind) => (listOf(kind)?.items.length ?? 0) === 0);
    },
    add(entries) {
      changed ||= entries.length > 0;
      for (const entry of entries) {
        const existing = find("context", entry.context);
        if (existing !== undefined && !clusterOfContext(existing).startsWith(OWN_PREFIX)) {
          throw new ConnectError(
            "CC_KUBECONFIG_INVALID",
            `${path} has a context ${entry.context} that was not made by cluster-connect`,
            { hint: "Choose another name with --kube-context, or another file with -f." },
          );
        }
        put("cluster", entry.name, clusterValue(entry), false);
        put("user", entry.name, userValue(entry), false);
        put("context", entry.context, contextValue(entry), true);
      }
      const [first] = entries;
      if (first !== undefined) root.set("current-context", first.context);
    },
    remove(names, former) {
      const ours = new Set(names.filter((name) => name.startsWith(OWN_PREFIX)));
      const isOurs = (item: unknown): boolean => isMap(item) && ours.has(String(item.get("name")));
      const removed = new Set<unknown>();
      drop("context", (item) => {
        const is = ours.has(clusterOfContext(item));
        if (is && isMap(item)) removed.add(item.get("name"));
        return is;
      });
      drop("cluster", isOurs);
      drop("user", isOurs);
      if (!removed.has(root.get("current-context"))) return;
      if (former === undefined) root.delete("current-context");
      else root.set("current-context", find("context", former) === undefined ? "" : former);
    },
    use(context) {
      changed = true;
      if (context === undefined) root.delete("current-context");
      else root.set("current-context", context);
    },
    hasContext(name) {
      return find("context", name) !== undefined;
    },
    portOf(name) {
      const cluster = find("cluster", name)?.get("cluster");
      const server = isMap(cluster) ? cluster.get("server") : undefined;
      const port = typeof server === "string" ? URL.parse(server)?.port : undefined;
      return port === undefined || port === "" ? undefined : Number(port);
    },
    toString() {
      if (isJson) return `${JSON.stringify(document.toJS(), undefined, 2)}\n`;
      // kubectl does not indent lists; keep to whatever the file does.
      const indentSeq = /^(clusters|contexts|users):[^\n]*\n[ ]+- /m.test(text);
      return document.toString({ lineWidth: 0, indentSeq });
    },
  };
}

function parseYaml(text: string, path: string): Document {
  const documents = parseAllDocuments(text, { prettyErrors: true, uniqueKeys: true });
  if (!Array.isArray(documents)) return emptyKubeconfig();
  if (documents.length > 1) throw invalid(path, "it holds more than one document");
  const [document] = documents;
  if (document === undefined) return emptyKubeconfig();
  const [problem] = document.errors;
  if (problem !== undefined) {
    throw invalid(path, `line ${problem.linePos?.[0].line ?? "?"} is not YAML`);
  }
  return document.contents === null || (isScalar(document.contents) && document.contents.value === null)
    ? emptyKubeconfig()
    : document;
}

function emptyKubeconfig(): Document {
  return new Document({ apiVersion: "v1", kind: "Config" });
}

function rootOf(document: Document, path: string): YAMLMap {
  const root = document.contents;
  if (!isMap(root)) throw invalid(path, "it is not a map");
  const kind = root.get("kind");
  if (kind !== undefined && kind !== null && kind !== "Config") throw invalid(path, "its kind is not Config");
  return root;
}

function parsesAsJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function invalid(path: string, reason: string): ConnectError {
  return new ConnectError("CC_KUBECONFIG_INVALID", `${path} is no kubeconfig: ${reason}`);
}
