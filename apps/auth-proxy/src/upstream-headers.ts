import {
  type HeaderLine,
  type HeaderLines,
  impersonationHeaders,
  type MappedIdentity,
  toRawHeaders,
  withoutHopByHop,
  withoutIdentity,
} from "@cluster-connect/auth";
import { withoutBearerProtocol } from "./credential.ts";
import type { Framing } from "./request-rules.ts";

/** What is written in place of what was removed. */
export interface OwnHeaders {
  readonly host: string;
  readonly framing: Framing;
  readonly method: string;
  /** Protocol to upgrade to. */
  readonly upgrade?: string | undefined;
  /** The caller's address. */
  readonly address?: string | undefined;
  readonly auditId: string;
  /** Our service account's token. */
  readonly token: string;
  readonly identity: MappedIdentity;
}

/** Written anew from what was read of them. */
const REPLACED: ReadonlySet<string> = new Set(["host", "content-length"]);
/** Methods whose missing body is said out loud, so that nothing that follows is taken for one. */
const WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/**
 * The headers of the request to the apiserver, complete, as a flat list.
 *
 * The order of steps is the point: hop-by-hop first, identity second, framing third, and who is calling last.
 *
 * @throws ConnectError `CC_IDENTITY_REFUSED` when the identity cannot be written.
 */
export function upstreamHeaders(received: HeaderLines, own: OwnHeaders): string[] {
  const passed = withoutBearerProtocol(withoutIdentity(withoutHopByHop(received))).filter(
    ([name]) => !REPLACED.has(name.toLowerCase()),
  );
  const upgrade: HeaderLines =
    own.upgrade === undefined
      ? []
      : [
          ["Connection", "Upgrade"],
          ["Upgrade", own.upgrade],
        ];
  const forwarded: HeaderLines = own.address === undefined ? [] : [["X-Forwarded-For", own.address]];
  return toRawHeaders([
    ["Host", own.host],
    ...passed,
    ...upgrade,
    ...framingHeaders(own.framing, own.method),
    ...forwarded,
    ["Audit-ID", own.auditId],
    ["Authorization", `Bearer ${own.token}`],
    ...impersonationHeaders(own.identity),
  ]);
}

function framingHeaders(framing: Framing, method: string): HeaderLine[] {
  switch (framing.kind) {
    case "chunked":
      return [["Transfer-Encoding", "chunked"]];
    case "length":
      return [["Content-Length", String(framing.bytes)]];
    case "none":
      return WITH_BODY.has(method) ? [["Content-Length", "0"]] : [];
  }
}

/** An answer's headers without those of the hop that it came over. */
export function answerHeaders(rawHeaders: HeaderLines): string[] {
  return toRawHeaders(withoutHopByHop(rawHeaders));
}
