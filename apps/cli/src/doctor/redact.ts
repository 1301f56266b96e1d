import { withoutPrivateKeys } from "@cluster-connect/base";

/** Patterns of secrets, and the text in their place; each on its own, so that no order matters. */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/\beyJ[\w-]+(\.[\w-]*)*/g, "[token]"],
  [/\b(bearer|basic)\s+[\w.~+/=-]+/gi, "$1 [secret]"],
  [/([?&](?:code|state|key|user_code|device_code)=)[^\s"&]+/g, "$1[secret]"],
  [/(:\/\/)[^/\s@]+@/g, "$1[login]@"],
  [/\b((?:refresh|access|id)?_?token|client_?secret|password|secret)("?\s*[=:]\s*"?)[^\s"&,;]+/gi, "$1$2[secret]"],
  // Any long and random text; a fingerprint has colons, a path has slashes.
  [/(?<![\w:/.-])[A-Za-z0-9_-]{40,}(?![\w:/-])/g, "[long text]"],
];

/** A text without tokens, keys, passwords, and anything that looks like one. A doubtful piece goes. */
export function redact(text: string): string {
  const open = withoutPrivateKeys(text, "[private key]");
  return SECRETS.reduce((left, [pattern, instead]) => left.replaceAll(pattern, instead), open);
}
