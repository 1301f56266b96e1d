import { createHash } from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../../deps.ts";
import { shellWord } from "../../terminal/shell-word.ts";
import { expiryOf, timestamp } from "../stored-token.ts";
import { audiencesOf } from "../token-audience.ts";
import type { TokenEnd } from "../token-end.ts";
import type { Pipeline } from "./build-service.ts";

interface IdToken {
  readonly variable: string;
  readonly token: string;
}

/** Where a job's own file puts its tokens unless it says otherwise. */
const VARIABLES = "CLUSTER_CONNECT_ID_TOKEN,CLUSTER_CONNECT_RELAY_ID_TOKEN";
const SHAPE = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/**
 * Tokens that a build service put into the job's environment, as GitLab does with `id_tokens`. Each has its audience
 * from the job's file; `CLUSTER_CONNECT_ID_TOKEN_VARIABLES` names other variables than the two usual ones.
 */
export function findIdTokens(deps: Pick<CliDeps, "env" | "now"> & { readonly endOf?: TokenEnd }): Pipeline | undefined {
  const { env, now, endOf = async (token) => expiryOf(token) } = deps;
  const names = (env["CLUSTER_CONNECT_ID_TOKEN_VARIABLES"] || VARIABLES).split(",").map((name) => name.trim());
  const tokens = names.flatMap((variable): IdToken[] => {
    const token = env[variable]?.trim() ?? "";
    return token === "" ? [] : [{ variable, token }];
  });
  if (tokens.length === 0) return undefined;
  const name = env["GITLAB_CI"] === "true" ? "GitLab" : "This job's environment";
  const jobKey = createHash("sha256")
    .update(tokens.map(({ token }) => token).join(" "))
    .digest("hex")
    .slice(0, 24);
  return {
    name,
    jobKey,
    hasOwnAudiences: true,
    token: async (audience, options) => {
      const found = tokenFor(audience, tokens);
      const expiresAt = await endOf(found.token, options);
      if (expiresAt === undefined || expiresAt.getTime() > now()) return found.token;
      throw new ConnectError(
        "CC_TOKEN_EXPIRED",
        `The token in ${found.variable} expired at ${expiresAt.toISOString()}; this machine's clock says ${timestamp(new Date(now()))}`,
        { hint: "Give the job more time: its tokens live as long as the job may." },
      );
    },
  };
}

function tokenFor(audience: string, tokens: readonly IdToken[]): IdToken {
  const broken = tokens.find(({ token }) => !SHAPE.test(token));
  if (broken !== undefined) throw new ConnectError("CC_TOKEN_INVALID", `${broken.variable} holds no ID token`);
  const found = tokens.find(({ token }) => audiencesOf(token).includes(audience));
  if (found === undefined) {
    const names = tokens.map(({ variable }) => variable).join(" and ");
    throw new ConnectError("CC_TOKEN_AUDIENCE", `No token for the audience ${shellWord(audience)} in ${names}`, {
      hint: "Add it to the job's id_tokens, each token with its own aud.",
    });
  }
  return found;
}
