import { X509Certificate } from "node:crypto";
import { certificateBlocks } from "@cluster-connect/base";
import { type ClusterId, clusterAudienceOf, isAudienceTemplate } from "@cluster-connect/protocol";
import { isFetchable } from "../keys/document.ts";
import type { GroupOverage } from "../tokens/claims.ts";
import { SIGNATURE_ALGORITHMS, type TrustedIssuer } from "../tokens/issuers.ts";
import type { ConfigReader } from "./config-reader.ts";
import { readIdentityMapping } from "./identity-mapping.ts";
import { readClaimRules, readUserRules } from "./validation-rules.ts";

/** Rules of this server beyond Kubernetes' own. */
export interface AuthenticationConfigOptions {
  /** Takes `http:` issuers on this machine; for demos and tests. */
  readonly allowInsecureLoopback?: boolean;
  /** Treatment of a token whose issuer left out a claim that the groups come from; "refuse" unless stated. */
  readonly groupOverage?: GroupOverage;
  /** The cluster that `{cluster}` in an audience stands for; without it such an audience stays as it is written. */
  readonly clusterId?: ClusterId;
}

/** One entry of `jwt`. A fault in it is a problem of the reader; the result then must not be used. */
export function readJwtAuthenticator(entry: ConfigReader, options: AuthenticationConfigOptions): TrustedIssuer {
  const issuer = readIssuer(entry, options);
  const claimRules = readClaimRules(entry);
  const mapping = readIdentityMapping(entry, options.groupOverage ?? "refuse", claimRules.claims);
  const userRules = readUserRules(entry);
  entry.end();
  return {
    ...issuer,
    algorithms: SIGNATURE_ALGORITHMS,
    allowInsecureLoopback: options.allowInsecureLoopback ?? false,
    validate: claimRules.check,
    map(claims) {
      const identity = mapping(claims);
      userRules(identity);
      return identity;
    },
  };
}

type IssuerFields = Pick<TrustedIssuer, "url" | "discoveryUrl" | "certificateAuthority" | "audiences">;

function readIssuer(entry: ConfigReader, options: AuthenticationConfigOptions): IssuerFields {
  const issuer = entry.object("issuer");
  if (issuer === undefined) {
    entry.fail("is required", "issuer");
    return { url: "", audiences: [] };
  }
  const url = readUrl(issuer, "url", options);
  if (url === undefined) issuer.fail("is required", "url");
  const discoveryUrl = readUrl(issuer, "discoveryURL", options);
  if (discoveryUrl !== undefined && withoutSlash(discoveryUrl) === withoutSlash(url ?? "")) {
    issuer.fail("must differ from url", "discoveryURL");
  }
  const certificateAuthority = readCertificates(issuer);
  const { clusterId } = options;
  const written = readAudiences(issuer);
  const audiences = clusterId === undefined ? written : written.map((one) => clusterAudienceOf(one, clusterId));
  if ((issuer.text("egressSelectorType") ?? "") !== "") issuer.fail("is not supported", "egressSelectorType");
  issuer.end();
  return {
    url: url ?? "",
    audiences,
    ...(discoveryUrl === undefined ? {} : { discoveryUrl }),
    ...(certificateAuthority === undefined ? {} : { certificateAuthority }),
  };
}

function readUrl(issuer: ConfigReader, name: string, options: AuthenticationConfigOptions): string | undefined {
  const text = issuer.text(name);
  if (text === undefined || text === "") return undefined;
  if (!URL.canParse(text)) {
    issuer.fail("must be a URL", name);
    return text;
  }
  const url = new URL(text);
  if (!isFetchable(url, options.allowInsecureLoopback ?? false)) issuer.fail("must be an https URL", name);
  if (url.username !== "" || url.password !== "") issuer.fail("must not hold a username or password", name);
  if (text.includes("?")) issuer.fail("must not have a query", name);
  if (text.includes("#")) issuer.fail("must not have a fragment", name);
  return text;
}

function readCertificates(issuer: ConfigReader): string | undefined {
  const pem = issuer.text("certificateAuthority");
  if (pem === undefined || pem === "") return undefined;
  const blocks = certificateBlocks(pem);
  if (blocks.length === 0 || !blocks.every(isCertificate))
    issuer.fail("must be PEM certificates", "certificateAuthority");
  return pem;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}

function readAudiences(issuer: ConfigReader): readonly string[] {
  const audiences = issuer.texts("audiences");
  const policy = issuer.text("audienceMatchPolicy") ?? "";
  if (audiences.length === 0) issuer.fail("must have at least one entry", "audiences");
  audiences.forEach((audience, index) => {
    if (audience === "") issuer.fail("must not be empty", `audiences[${index}]`);
    else if (!isAudienceTemplate(audience)) issuer.fail("must hold {cluster} at most once", `audiences[${index}]`);
    if (audiences.indexOf(audience) < index) issuer.fail("is listed twice", `audiences[${index}]`);
  });
  if (policy !== "MatchAny" && (policy !== "" || audiences.length > 1)) {
    const allowed = audiences.length > 1 ? "MatchAny when there are several audiences" : "MatchAny or left out";
    issuer.fail(`must be ${allowed}`, "audienceMatchPolicy");
  }
  return audiences;
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, "");
}
