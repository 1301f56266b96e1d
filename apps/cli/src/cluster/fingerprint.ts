import { ConnectError } from "@cluster-connect/protocol";

const HEX_DIGITS = 64;

/**
 * Reads a SHA-256 fingerprint as people copy it. It has hex digits of either case, with or without colons, perhaps
 * behind the name of the hash.
 *
 * @param where names the flag or variable in the message.
 * @returns upper-case pairs joined by colons, as openssl prints them.
 * @throws ConnectError `CC_USAGE` saying what is wrong with it.
 */
export function parseFingerprint(text: string, where: string): string {
  const plain = text
    .trim()
    .replace(/^sha-?256( fingerprint)?[:= ]/i, "")
    .replaceAll(/[\s:]/g, "");
  const bad = (what: string): ConnectError =>
    new ConnectError("CC_USAGE", `${where} is no SHA-256 fingerprint: ${what}`, {
      hint: `Give ${HEX_DIGITS} hex digits, with or without colons, as \`cluster-connect clusters trust\` shows them.`,
    });
  if (!/^[0-9a-f]*$/i.test(plain)) throw bad("it holds other characters than hex digits and colons");
  if (plain.length !== HEX_DIGITS) throw bad(`it has ${plain.length} hex digits instead of ${HEX_DIGITS}`);
  return (plain.toUpperCase().match(/../g) ?? []).join(":");
}
