import type { KeptHow } from "./token-cache.ts";

/** Where a login is kept, for people. */
export function describeKept({ path, keyStore }: KeptHow): string {
  return keyStore === undefined ? `${path}, which only you can read` : `${path}, sealed with a key in the ${keyStore}`;
}
