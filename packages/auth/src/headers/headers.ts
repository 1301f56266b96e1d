/** One header line as it is on the wire: a name and a value, the value's bytes as Latin-1. */
export type HeaderLine = readonly [name: string, value: string];
export type HeaderLines = readonly HeaderLine[];

/** Headers that RFC 9110 and its forerunners give to one hop alone, and headers that frame a body. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "expect",
  "alt-svc",
]);

/**
 * Names that carry the caller's identity, or that some server takes to carry it. A cookie is none of them. The
 * apiserver takes no credential from it, and hands it to the application behind a proxied service.
 */
const IDENTITY_NAMES: ReadonlySet<string> = new Set([
  "authorization",
  "proxy-authorization",
  "forwarded",
  "x-real-ip",
  "true-client-ip",
  "audit-id",
]);
const IDENTITY_PREFIXES: readonly string[] = ["impersonate-", "x-remote-", "x-forwarded-", "x-client-cert", "x-ssl-"];
/** Prefixes without their dash are identity too: some servers read `X-Remote` where others read `X-Remote-User`. */
const IDENTITY_STEMS: ReadonlySet<string> = new Set(["impersonate", "x-remote", "x-forwarded"]);

const OWS = /^[ \t]+|[ \t]+$/g;

/** A flat list of names and values, as `node:http` has it in `rawHeaders`, as lines. */
export function toHeaderLines(rawHeaders: readonly string[]): HeaderLines {
  const lines: HeaderLine[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    lines.push([rawHeaders[index] ?? "", rawHeaders[index + 1] ?? ""]);
  }
  return lines;
}

/** Lines as the flat list that `node:http` writes as it is. */
export function toRawHeaders(lines: HeaderLines): string[] {
  return lines.flat();
}

/** Every value of a header, in order; names are compared without case. */
export function headerValues(lines: HeaderLines, name: string): readonly string[] {
  const wanted = name.toLowerCase();
  return lines.filter(([own]) => own.toLowerCase() === wanted).map(([, value]) => value);
}

/** The elements of a header that is a comma-separated list, over all its lines, lower-case and without blanks. */
export function headerTokens(lines: HeaderLines, name: string): readonly string[] {
  return headerValues(lines, name)
    .flatMap((value) => value.split(","))
    .map((token) => token.replaceAll(OWS, "").toLowerCase())
    .filter((token) => token !== "");
}

/** Without what is meant for this hop alone: the fixed names and every name that `Connection` lists. */
export function withoutHopByHop(lines: HeaderLines): HeaderLines {
  const named = new Set(headerTokens(lines, "connection").map(spelling));
  return lines.filter(([name]) => !HOP_BY_HOP.has(name.toLowerCase()) && !named.has(spelling(name)));
}

/** Without every header that could carry the caller's identity. */
export function withoutIdentity(lines: HeaderLines): HeaderLines {
  return lines.filter(([name]) => !isIdentityHeader(name));
}

/** Whether a header could carry the caller's identity; case and `_` for `-` make no difference. */
export function isIdentityHeader(name: string): boolean {
  const spelt = spelling(name);
  if (IDENTITY_NAMES.has(spelt) || IDENTITY_STEMS.has(spelt)) return true;
  return IDENTITY_PREFIXES.some((prefix) => spelt.startsWith(prefix));
}

/** Whether a header asks to act as another user, in any spelling. */
export function isImpersonationHeader(name: string): boolean {
  const spelt = spelling(name);
  return spelt === "impersonate" || spelt.startsWith("impersonate-");
}

/** A name as the most forgiving server would read it. */
function spelling(name: string): string {
  return name.replaceAll(OWS, "").toLowerCase().replaceAll("_", "-");
}
