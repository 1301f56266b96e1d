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
import type { Framing } from "./rules.ts";

/** Values written in place of the removed headers. */
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
  /** Whether the identity is one that the caller asked for and may have. */
  readonly acting: boolean;
}

/** Headers written anew from their parsed values. */
const REPLACED: ReadonlySet<string> = new Set(["host", "content-length"]);
/** Methods whose missing body is said out loud, so that no following bytes are taken for one. */
const WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/**
 * The headers of the request to the apiserver, complete, as a flat list.
 *
 * The order of steps is the point: hop-by-hop first, identity second, framing third, and the caller last.
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
    ...trailersWanted(received),
    ...upgrade,
    ...framingHeaders(own.framing, own.method),
    ...forwarded,
    ["Audit-ID", own.auditId],
    ["Authorization", `Bearer ${own.token}`],
    ...impersonationHeaders(own.identity, { anyExtraKey: own.acting }),
  ]);
}

/** `TE: trailers` is for every hop: an application may leave the trailers of its answer out without it. */
function trailersWanted(received: HeaderLines): HeaderLine[] {
  const coded = received.filter(([name]) => name.toLowerCase() === "te").flatMap(([, value]) => value.split(","));
  return coded.some((token) => token.trim().toLowerCase() === "trailers") ? [["TE", "trailers"]] : [];
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
