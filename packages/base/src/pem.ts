const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;

/** The certificates in a text, each as its own block and in their order. Whether they can be read is not looked at. */
export function certificateBlocks(text: string): readonly string[] {
  return text.match(CERTIFICATE) ?? [];
}

/** The text with another one in place of each private key, also of one that is cut off. */
export function withoutPrivateKeys(text: string, replacement: string): string {
  return text.replaceAll(PRIVATE_KEY, () => replacement);
}
