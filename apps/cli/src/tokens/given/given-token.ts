import { ConnectError } from "@cluster-connect/protocol";
import { readTextFile } from "../../files/text-file.ts";
import { type StoredToken, timestamp } from "../stored-token.ts";
import type { TokenEnd } from "../token-end.ts";

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
export async function readGivenToken(
  given: GivenToken,
  options: { readonly signal: AbortSignal },
  deps: { readonly endOf: TokenEnd; readonly now: () => number },
): Promise<StoredToken> {
  const token = await readGivenText(given);
  const expiresAt = await deps.endOf(token, options);
  const now = deps.now();
  if (expiresAt !== undefined && expiresAt.getTime() <= now) {
    throw new ConnectError(
      "CC_TOKEN_EXPIRED",
      `The token in ${placeOf(given)} expired at ${expiresAt.toISOString()}; this machine's clock says ${timestamp(new Date(now))}`,
      { hint: "Get a new token from its issuer, then repeat the command." },
    );
  }
  return { token, expiresAt };
}

const placeOf = (given: GivenToken): string => (given.kind === "file" ? given.path : given.where);

/**
 * Reads a given token as it is, also one that has ended.
 *
 * @throws ConnectError `CC_TOKEN_INVALID` naming the file or variable; `CC_FILE_MISSING`.
 */
export async function readGivenText(given: GivenToken): Promise<string> {
  const text = (given.kind === "file" ? await readTextFile(given.path) : given.text).trim();
  if (text.length > MAX_TOKEN_CHARACTERS || !TOKEN.test(text)) {
    throw new ConnectError("CC_TOKEN_INVALID", `${placeOf(given)} holds no bearer token`, {
      hint: "Give the token alone, as the issuer handed it out.",
    });
  }
  return text;
}
