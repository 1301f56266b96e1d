import type { Principal } from "@cluster-connect/auth";

/** Names a caller among those of all issuers: two of them may use the same subject. */
export function callerKey({ issuer, subject }: Pick<Principal, "issuer" | "subject">): string {
  return `${issuer}\n${subject}`;
}
