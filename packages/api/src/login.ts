import { z } from "zod";
import { AUDIENCE_TEMPLATE_FIELD, HTTP_URL_FIELD, TEXT_FIELD } from "./fields.ts";

/** How an audience is named at the issuer: RFC 8707 `resource`, a scope `<audience>/.default` (Entra), or `audience`. */
export type ResourceParameter = "resource" | "scope" | "audience";

/** The facts that a CLI needs to sign a person in. The relay hands them out without a credential, so none is secret. */
export interface LoginSettings {
  /** The issuer people sign in at. */
  readonly issuer: string;
  readonly clientId: string;
  /**
   * Issuers such as Google ask for one of programs on people's machines, too. Anybody can read it there, so it proves
   * nothing; PKCE does.
   */
  readonly clientSecret?: string | undefined;
  readonly scopes: readonly string[];
  /**
   * The relay's audience and the clusters'. They differ, so that no token works at both. The clusters' may hold
   * `{cluster}`: each cluster has one of its own then, see `clusterAudienceOf`.
   */
  readonly audiences: { readonly relay: string; readonly cluster: string };
  readonly resourceParameter: ResourceParameter;
}

/** {@link LoginSettings} in the relay's settings, in its answer and at the CLI. */
export const LOGIN = z.object({
  issuer: HTTP_URL_FIELD,
  clientId: TEXT_FIELD,
  clientSecret: TEXT_FIELD.optional(),
  scopes: z.array(z.string()),
  audiences: z.object({ relay: TEXT_FIELD, cluster: AUDIENCE_TEMPLATE_FIELD }),
  resourceParameter: z.enum(["resource", "scope", "audience"]),
}) satisfies z.ZodType<LoginSettings>;

/** Answer of `GET /.well-known/cluster-connect`. */
export interface RelayInfo {
  readonly relayId: string;
  readonly software: string;
  /** Null when the relay leaves the choice of an issuer to its callers. */
  readonly login: LoginSettings | null;
}

/** {@link RelayInfo}. */
export const RELAY_INFO = z.object({
  relayId: z.string(),
  software: z.string(),
  login: LOGIN.nullable(),
}) satisfies z.ZodType<RelayInfo>;
