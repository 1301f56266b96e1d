/** What looks like a secret, and what stands in its place; each on its own, so that no order matters. */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, "[private key]"],
  [/\beyJ[\w-]+(\.[\w-]*)*/g, "[token]"],
  [/\b(bearer|basic)\s+[\w.~+/=-]+/gi, "$1 [secret]"],
  [/([?&](?:code|state|key|user_code|device_code)=)[^\s"&]+/g, "$1[secret]"],
  [/(:\/\/)[^/\s@]+@/g, "$1[login]@"],
  [/\b((?:refresh|access|id)?_?token|client_?secret|password|secret)("?\s*[=:]\s*"?)[^\s"&,;]+/gi, "$1$2[secret]"],
  // Whatever is long and random; a fingerprint has colons, a path has slashes.
  [/(?<![\w:/.-])[A-Za-z0-9_-]{40,}(?![\w:/-])/g, "[long text]"],
];

/** A text without tokens, keys, passwords, and whatever looks like one. In doubt it goes. */
export function redact(text: string): string {
  return SECRETS.reduce((left, [pattern, instead]) => left.replaceAll(pattern, instead), text);
}
