import { ConnectError } from "@cluster-connect/protocol";
import { MAX_TOKEN_BYTES } from "../limits.ts";

// RFC 6750, b64token.
const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i;

/**
 * The token of an `Authorization` header.
 *
 * @param header The header's only value as it was received; undefined when there is none.
 * @throws ConnectError `CC_TOKEN_MISSING` without a header or with an empty one, `CC_TOKEN_INVALID` when it is not
 *   exactly `Bearer`, spaces and one token. The message never shows the header.
 */
export function parseBearer(header: string | undefined): string {
  if (header === undefined || header === "") {
    throw new ConnectError("CC_TOKEN_MISSING", "The request carries no token (Authorization: Bearer)");
  }
  if (header.length > MAX_TOKEN_BYTES + "Bearer ".length) {
    throw new ConnectError("CC_TOKEN_INVALID", `The Authorization header has more than ${MAX_TOKEN_BYTES} bytes`);
  }
  const token = BEARER.exec(header)?.[1];
  if (token !== undefined) return token;
  if (/^bearer *$/i.test(header)) {
    throw new ConnectError("CC_TOKEN_MISSING", "The Authorization header carries no token after Bearer");
  }
  throw new ConnectError("CC_TOKEN_INVALID", "The Authorization header is not of the form Bearer and one token");
}
