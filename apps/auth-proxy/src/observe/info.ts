/** A request's subject in Kubernetes' words, for the log alone: the apiserver decides by its own reading. */
export interface RequestInfo {
  readonly verb: string;
  /** Without the query, which may hold anything; bytes above 0x7f are percent-encoded. */
  readonly path: string;
  readonly apiGroup?: string;
  readonly resource?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
  /** Whether the request goes on until either side ends it. */
  readonly long: boolean;
  readonly watch: boolean;
}

const WRITE_VERBS: Readonly<Record<string, string>> = {
  POST: "create",
  PUT: "update",
  PATCH: "patch",
};
/** As the apiserver counts long-running requests. */
const LONG_SUBRESOURCES: ReadonlySet<string> = new Set(["exec", "attach", "portforward", "proxy", "log"]);
const NAMESPACE_SUBRESOURCES: ReadonlySet<string> = new Set(["status", "finalize"]);

/** Reads a method and a request target as the apiserver's own request resolver does. */
export function describeRequest(method: string, target: string): RequestInfo {
  const [path = "", query = ""] = splitOnce(withoutRawBytes(target), "?");
  const parts = path.split("/").filter((part) => part !== "");
  const prefix = parts[0] === "api" ? 2 : parts[0] === "apis" ? 3 : 0;
  if (prefix === 0 || parts.length <= prefix) {
    return { verb: method.toLowerCase(), path, long: false, watch: false };
  }
  const parameters = new URLSearchParams(query);
  const watchPath = parts[prefix] === "watch";
  const own = parts.slice(watchPath ? prefix + 1 : prefix);
  const place = readPlace(own);
  const watch = (method === "GET" || method === "HEAD") && (watchPath || isTrue(parameters.get("watch")));
  return {
    verb: watch ? "watch" : verbOf(method, place.name),
    path,
    ...(prefix === 3 && parts[1] !== undefined ? { apiGroup: parts[1] } : {}),
    ...place,
    watch,
    long: watch || LONG_SUBRESOURCES.has(place.subresource ?? ""),
  };
}

type Place = Pick<RequestInfo, "resource" | "namespace" | "name" | "subresource">;

function readPlace(parts: readonly string[]): Place {
  const [first, second, third] = parts;
  const inNamespace = first === "namespaces" && third !== undefined && !NAMESPACE_SUBRESOURCES.has(third);
  const [resource, name, subresource] = inNamespace ? parts.slice(2) : parts;
  const namespace = inNamespace ? second : first === "namespaces" ? second : undefined;
  return {
    ...(resource === undefined ? {} : { resource }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  };
}

function verbOf(method: string, name: string | undefined): string {
  if (method === "GET" || method === "HEAD") return name === undefined ? "list" : "get";
  if (method === "DELETE") return name === undefined ? "deletecollection" : "delete";
  return WRITE_VERBS[method] ?? method.toLowerCase();
}

/** @param target one character for each byte, which alone would be another text, or control a terminal. */
function withoutRawBytes(target: string): string {
  return target.replaceAll(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** As the apiserver reads booleans in a query: present and not "0" or "false". */
function isTrue(value: string | null): boolean {
  return value !== null && value !== "0" && value.toLowerCase() !== "false";
}

function splitOnce(text: string, separator: string): readonly string[] {
  const index = text.indexOf(separator);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + 1)];
}
