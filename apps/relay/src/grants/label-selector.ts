import { ConnectError } from "@cluster-connect/protocol";

/** Labels of a cluster, as Kubernetes writes them. */
export type Labels = Readonly<Record<string, string>>;

/** A compiled label selector in Kubernetes' syntax, such as `env=prod,tier in (a,b),!legacy`. */
export interface LabelSelector {
  readonly source: string;
  matches(labels: Labels): boolean;
}

type Requirement = (labels: Labels) => boolean;

const PREFIX = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const NAME = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const MAX_CHARACTERS = 1_024;

/** A name of 1 to 63 characters, perhaps after a DNS name and `/`. */
export function isLabelKey(text: string): boolean {
  const slash = text.indexOf("/");
  return NAME.test(text.slice(slash + 1)) && (slash < 0 || PREFIX.test(text.slice(0, slash)));
}

/** At most 63 characters, or none. */
export function isLabelValue(text: string): boolean {
  return text === "" || NAME.test(text);
}

/**
 * Compiles a selector; all its requirements have to hold.
 *
 * As in Kubernetes `!=` and `notin` also hold where the label is missing. An empty selector is refused: `*` says that.
 *
 * @throws ConnectError `CC_REQUEST_REFUSED` naming the requirement that cannot be read.
 */
export function parseLabelSelector(source: string): LabelSelector {
  if (source.length > MAX_CHARACTERS) throw invalidSelector(`is longer than ${MAX_CHARACTERS} characters`);
  // A comma inside of brackets belongs to a set of values.
  const requirements = source.split(/,(?![^(]*\))/).map(parseRequirement);
  return { source, matches: (labels) => requirements.every((holds) => holds(labels)) };
}

function parseRequirement(text: string): Requirement {
  const exists = /^\s*(!?)\s*([^\s!=(),]+)\s*$/.exec(text);
  if (exists !== null) {
    const key = parseKey(exists[2]);
    const wanted = exists[1] === "";
    return (labels) => Object.hasOwn(labels, key) === wanted;
  }
  const equal = /^\s*([^\s!=(),]+)\s*(==|=|!=)\s*([^\s!=(),]*)\s*$/.exec(text);
  if (equal !== null) return valueIn(parseKey(equal[1]), [parseValue(equal[3])], equal[2] !== "!=");
  const set = /^\s*([^\s!=(),]+)\s+(in|notin)\s*\(([^()]*)\)\s*$/.exec(text);
  if (set === null) throw invalidSelector(`has a requirement that cannot be read: ${JSON.stringify(text.trim())}`);
  const values = (set[3] ?? "").split(",").map((value) => parseValue(value.trim()));
  return valueIn(parseKey(set[1]), values, set[2] === "in");
}

function valueIn(key: string, values: readonly string[], wanted: boolean): Requirement {
  return (labels) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    return (value !== undefined && values.includes(value)) === wanted;
  };
}

function parseKey(text = ""): string {
  if (isLabelKey(text)) return text;
  throw invalidSelector(`has a label key that Kubernetes does not take: ${JSON.stringify(text)}`);
}

function parseValue(text = ""): string {
  if (isLabelValue(text)) return text;
  throw invalidSelector(`has a label value that Kubernetes does not take: ${JSON.stringify(text)}`);
}

function invalidSelector(what: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `The label selector ${what}`);
}
