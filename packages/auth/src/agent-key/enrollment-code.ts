import { createHash, randomBytes } from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";

/** A new one-time code: the text goes to a person once, only the hash is stored. */
export interface EnrollmentCode {
  readonly code: string;
  readonly hash: string;
}

/** Makes `bytes` unpredictable bytes. */
export type RandomBytes = (bytes: number) => Uint8Array;

// Crockford's alphabet: no i, l, o, u.
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const PREFIX = "cc1-";
const SECRET_CHARACTERS = 28;
const GROUP_CHARACTERS = 5;

/**
 * A code of 140 random bits and two check characters: `cc1-` and six groups of five, easy to read out and to copy.
 */
export function mintEnrollmentCode(deps: { readonly randomBytes: RandomBytes } = { randomBytes }): EnrollmentCode {
  const secret = Array.from(deps.randomBytes(SECRET_CHARACTERS), (byte) => ALPHABET[byte % ALPHABET.length]).join("");
  const code = format(secret + checkOf(secret));
  return { code, hash: hashEnrollmentCode(code) };
}

/**
 * The code in its one spelling. Case, spaces, missing dashes and the letters i, l and o for 1 and 0 do not matter.
 *
 * @throws ConnectError `CC_ENROLLMENT_CODE_INVALID` when it is no code or was mistyped. The message does not show it.
 */
export function parseEnrollmentCode(text: string): string {
  const plain = text.slice(0, 256).trim().toLowerCase();
  const characters = plain.slice(PREFIX.length).replaceAll(/[-\s]/g, "").replaceAll(/[il]/g, "1").replaceAll("o", "0");
  const secret = characters.slice(0, SECRET_CHARACTERS);
  const known = [...characters].every((character) => ALPHABET.includes(character));
  if (!plain.startsWith(PREFIX) || !known || characters.length !== SECRET_CHARACTERS + 2) {
    throw invalidCode(`An enrollment code begins with ${PREFIX} and has six groups of five characters`);
  }
  if (characters.slice(SECRET_CHARACTERS) !== checkOf(secret)) throw invalidCode("The enrollment code was mistyped");
  return format(characters);
}

/**
 * The digest that is stored and looked up in a code's place.
 *
 * @throws ConnectError `CC_ENROLLMENT_CODE_INVALID` as the parser.
 */
export function hashEnrollmentCode(code: string): string {
  return createHash("sha256")
    .update(`enrollment code ${parseEnrollmentCode(code)}`)
    .digest("base64url");
}

function checkOf(secret: string): string {
  const [first = 0, second = 0] = createHash("sha256").update(`check ${secret}`).digest();
  return `${ALPHABET[first % ALPHABET.length]}${ALPHABET[second % ALPHABET.length]}`;
}

function format(characters: string): string {
  const groups = Array.from({ length: Math.ceil(characters.length / GROUP_CHARACTERS) }, (_, index) =>
    characters.slice(index * GROUP_CHARACTERS, (index + 1) * GROUP_CHARACTERS),
  );
  return PREFIX + groups.join("-");
}

function invalidCode(message: string): ConnectError {
  return new ConnectError("CC_ENROLLMENT_CODE_INVALID", message);
}
