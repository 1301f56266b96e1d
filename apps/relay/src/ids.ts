import { type CorrelationId, parseCorrelationId, parseSessionId, type SessionId } from "@cluster-connect/protocol";

/** Fresh ids that cannot be guessed. */
export interface RelayIds {
  sessionId(): SessionId;
  correlationId(): CorrelationId;
  /** Of a grant that is made through the API. */
  grantId(): string;
}

/** @param randomBytes so many bytes of a cryptographic source. */
export function createRelayIds(randomBytes: (count: number) => Buffer): RelayIds {
  return {
    sessionId: () => parseSessionId(randomBytes(16).toString("base64url")),
    correlationId: () => parseCorrelationId(randomBytes(8).toString("hex")),
    grantId: () => `api/${randomBytes(9).toString("base64url")}`,
  };
}
