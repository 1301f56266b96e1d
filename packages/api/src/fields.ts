import {
  type ClusterId,
  type ClusterUid,
  isAudienceTemplate,
  isClusterUid,
  type KeyId,
  parseClusterId,
  parseKeyId,
} from "@cluster-connect/protocol";
import { z } from "zod";

/** A cluster's id in an answer. */
export const CLUSTER_ID_FIELD = z
  .custom<ClusterId>(accepts(parseClusterId), "expected a cluster id")
  .meta({ type: "string" });

/** An agent key's id in an answer. */
export const KEY_ID_FIELD = z.custom<KeyId>(accepts(parseKeyId), "expected a key id").meta({ type: "string" });

/** A name in TLS. */
export const SERVER_NAME_FIELD = z
  .string()
  .refine((name) => /^[a-z0-9.-]{1,253}$/.test(name), "expected a server name");

/** Signatures in base64url, separated by blanks: eight at the most. */
export const SIGNATURES_FIELD = z
  .string()
  .regex(/^(?:[A-Za-z0-9_-]{86}(?: (?!$)|$)){1,8}$/, "expected up to eight signatures");

/** SHA-256 of a certificate as openssl prints it: upper-case pairs joined by colons. */
export const FINGERPRINT_FIELD = z
  .string()
  .regex(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/, "expected a SHA-256 fingerprint");

/** The UID of a cluster's namespace kube-system. */
export const CLUSTER_UID_FIELD = z
  .custom<ClusterUid>(isClusterUid, "expected a cluster's UID")
  .meta({ type: "string" });

/** A non-empty text. */
export const TEXT_FIELD = z.string().refine((text) => text.length > 0, "expected a text");

/** The clusters' audience: one for all, or with `{cluster}` in place of the id. */
export const AUDIENCE_TEMPLATE_FIELD = z
  .string()
  .refine(isAudienceTemplate, "expected a text with {cluster} at most once");

/** An address of http or https. */
export const HTTP_URL_FIELD = z
  .string()
  .refine((text) => /^https?:$/.test(URL.parse(text)?.protocol ?? ""), "expected an address of https or http");

function accepts(parse: (value: unknown) => unknown): (value: unknown) => boolean {
  return (value) => {
    try {
      parse(value);
      return true;
    } catch {
      return false;
    }
  };
}
