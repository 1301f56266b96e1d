import type { RelayInfo } from "@cluster-connect/api";
import { hasOwnAudiences } from "@cluster-connect/protocol";
import { audienceFor } from "../tokens/audiences.ts";
import type { CallerTokens, Purpose, TokenOptions } from "../tokens/caller-tokens.ts";
import { audiencesOf } from "../tokens/token-audience.ts";
import type { DoctorReport } from "./report.ts";

/**
 * Checks that there is a token for each audience, and that the two are not one.
 *
 * @returns the tokens that there are.
 */
export async function checkSignIn(
  tokens: CallerTokens,
  info: RelayInfo | undefined,
  report: DoctorReport,
  options: TokenOptions,
): Promise<Readonly<Partial<Record<Purpose, string>>>> {
  const relay = await report.check("token for the relay", async () => await checkToken(tokens, "relay", info, options));
  const isOwn = hasOwnAudiences(info?.login?.audiences.cluster ?? "");
  const name = "token for clusters";
  if (isOwn && options.cluster === undefined) {
    report.skip(name, "each cluster takes tokens of its own: name one with -n");
    return relay === undefined ? {} : { relay };
  }
  const cluster = await report.check(name, async () => await checkToken(tokens, "cluster", info, options));
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

async function checkToken(
  tokens: CallerTokens,
  purpose: Purpose,
  info: RelayInfo | undefined,
  options: TokenOptions,
): Promise<{ value: string; detail: string; warning?: string }> {
  const { token, expiresAt } = await tokens.token(purpose, options);
  const audiences = audiencesOf(token);
  const login = info?.login ?? undefined;
  const expected = login === undefined ? undefined : audienceFor(login.audiences, purpose, options.cluster);
  const until = expiresAt === undefined ? "" : `, until ${expiresAt.toISOString()}`;
  const detail = `for ${audiences.length === 0 ? "an audience it does not tell" : audiences.join(", ")}${until}`;
  if (expected === undefined || audiences.length === 0 || audiences.includes(expected)) return { value: token, detail };
  return { value: token, detail, warning: `The relay's login settings say that it should be for ${expected}.` };
}
