import { ConnectError } from "@cluster-connect/protocol";
import { readTextFile } from "../../files/text-file.ts";
import { expiryOf, type StoredToken } from "../stored-token.ts";

const MAX_TOKEN_CHARACTERS = 65_536;
const TOKEN = /^[A-Za-z0-9._~+/=-]+$/;

/** A token that was not got by this tool: where it comes from. */
export type GivenToken =
  | { readonly kind: "text"; readonly text: string; readonly where: string }
  | { readonly kind: "file"; readonly path: string };

/**
 * Reads a given token. A file is read each time, as its owner may renew it.
 *
 * @throws ConnectError `CC_TOKEN_INVALID` or `CC_TOKEN_EXPIRED` naming the file or variable; `CC_FILE_MISSING`.
 */
export async function readGivenToken(given: GivenToken, now: number): Promise<StoredToken> {
  const where = given.kind === "file" ? given.path : given.where;
  const text = (given.kind === "file" ? await readTextFile(given.path) : given.text).trim();
  if (text.length > MAX_TOKEN_CHARACTERS || !TOKEN.test(text)) {
    throw new ConnectError("CC_TOKEN_INVALID", `${where} holds no bearer token`, {
      hint: "Give the token alone, as the issuer handed it out.",
    });
  }
  const expiresAt = expiryOf(text);
  if (expiresAt !== undefined && expiresAt.getTime() <= now) {
    throw new ConnectError("CC_TOKEN_EXPIRED", `The token in ${where} expired at ${expiresAt.toISOString()}`, {
      hint: "Get a new token from its issuer, then repeat the command.",
    });
  }
  return { token: text, expiresAt };
}
