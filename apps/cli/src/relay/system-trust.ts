import { deepestCode, isCertificateProblem } from "./network-error.ts";

/**
 * A `fetch` that asks the machine's own trust store when a certificate is not trusted. Reading the store takes longer
 * than most commands, and most never need it.
 *
 * @param trustSystem makes the store's authorities trusted from then on, for all TLS of this process.
 */
export function withSystemAuthorities(ask: typeof fetch, trustSystem: () => void): typeof fetch {
  let isTrusted = false;
  return async (input, init) => {
    try {
      return await ask(input, init);
    } catch (error) {
      if (!isCertificateProblem(deepestCode(error))) throw error;
      if (!isTrusted) trustSystem();
      isTrusted = true;
      return await ask(input, init);
    }
  };
}
