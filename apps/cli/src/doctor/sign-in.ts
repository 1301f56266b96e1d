import type { RelayInfo } from "../relay-api.ts";
import type { CallerTokens, Purpose } from "../tokens/caller-tokens.ts";
import { unverifiedClaims } from "../tokens/stored-token.ts";
import type { Report } from "./report.ts";

/**
 * Checks that there is a token for each audience, and that the two are not one.
 *
 * @returns the tokens that there are.
 */
export async function checkSignIn(
  tokens: CallerTokens,
  info: RelayInfo | undefined,
  report: Report,
  options: { readonly signal: AbortSignal },
): Promise<Readonly<Partial<Record<Purpose, string>>>> {
  const relay = await report.check("token for the relay", async () => await look(tokens, "relay", info, options));
  const cluster = await report.check("token for clusters", async () => await look(tokens, "cluster", info, options));
  if (relay !== undefined && cluster !== undefined) {
    await report.check("two audiences", async () => {
      const shared = audiencesOf(relay).filter((audience) => audiencesOf(cluster).includes(audience));
      if (shared.length === 0) return { value: true, detail: "the relay's token is worthless at the clusters" };
      return {
        value: false,
        detail: `both tokens are for ${shared.join(", ")}`,
        warning: "Have the issuer mint a token for each: now the relay could use yours at the clusters.",
      };
    });
  }
  return { ...(relay === undefined ? {} : { relay }), ...(cluster === undefined ? {} : { cluster }) };
}

async function look(
  tokens: CallerTokens,
  purpose: Purpose,
  info: RelayInfo | undefined,
  options: { readonly signal: AbortSignal },
): Promise<{ value: string; detail: string; warning?: string }> {
  const { token, expiresAt } = await tokens.token(purpose, options);
  const audiences = audiencesOf(token);
  const expected = info?.login?.audiences[purpose];
  const until = expiresAt === undefined ? "" : `, until ${expiresAt.toISOString()}`;
  const detail = `for ${audiences.length === 0 ? "an audience it does not tell" : audiences.join(", ")}${until}`;
  if (expected === undefined || audiences.length === 0 || audiences.includes(expected)) return { value: token, detail };
  return { value: token, detail, warning: `The relay's login settings say that it should be for ${expected}.` };
}

function audiencesOf(token: string): readonly string[] {
  const { aud } = unverifiedClaims(token);
  return (Array.isArray(aud) ? aud : [aud]).filter((audience) => typeof audience === "string");
}
