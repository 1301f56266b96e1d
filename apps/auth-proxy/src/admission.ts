import {
  type HeaderLines,
  headerValues,
  isImpersonationHeader,
  type MappedIdentity,
  type Principal,
} from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import type { AccessReviewer } from "./access-review.ts";
import { readActing } from "./acting.ts";
import type { Authenticate } from "./authenticate.ts";
import { callersToken } from "./credential.ts";
import { withDeadline } from "./deadline.ts";
import { callersIdentity, type IdentityRules, sentIdentity } from "./identity.ts";
import { ADMISSION_TIMEOUT_MS } from "./limits.ts";
import type { StreamOrigin } from "./proxy-header.ts";
import type { Quota } from "./quota.ts";
import type { RequestRecord } from "./request-log.ts";
import { checkRequest, checkUpgrade, type Framing, type RequestHead } from "./request-rules.ts";
import { type OwnHeaders, upstreamHeaders } from "./upstream-headers.ts";

/** A request that may go on, as the identity that was found. */
export interface Admitted {
  readonly principal: Principal;
  /** Why the caller is trusted no longer, if so. */
  readonly fault: () => ConnectError | undefined;
  readonly framing: Framing;
  /** The protocol an upgrade asks for. */
  readonly upgrade?: string;
  /** The complete headers for the apiserver, with our own token in them. */
  headers(own: { readonly token: string; readonly host: string }): string[];
  /** Gives the caller's place back. */
  leave(): void;
}

export interface AdmissionDeps {
  readonly authenticate: Authenticate;
  /** Absent when acting as somebody else is off. */
  readonly accessReviewer?: AccessReviewer | undefined;
  readonly rules: () => IdentityRules;
  readonly requests: Quota;
  readonly upgrades: Quota;
}

export interface AdmissionRequest {
  readonly head: RequestHead;
  readonly origin: StreamOrigin;
  /** Whether the parser met an upgrade. */
  readonly upgrade: boolean;
}

/** Everything that stands between a caller and the apiserver, in one place and order. */
export type Admit = (
  request: AdmissionRequest,
  record: RequestRecord,
  options: { readonly signal: AbortSignal },
) => Promise<Admitted>;

/** @throws ConnectError of the first rule that is not met; nothing was sent to the apiserver as the caller then. */
export function createAdmit(deps: AdmissionDeps): Admit {
  return async ({ head, origin, upgrade }, record, options) => {
    const framing = checkRequest(head);
    const protocol = upgrade ? checkUpgrade(head, framing) : undefined;
    const quota = upgrade ? deps.upgrades : deps.requests;
    const leaveAll = quota.enter();
    const deadline = { ms: ADMISSION_TIMEOUT_MS, what: "Checking who is calling", signal: options.signal };
    try {
      const { principal, identity, fault } = await withDeadline(deadline, (signal) =>
        identify({ head, origin, webSocket: protocol?.toLowerCase() === "websocket" }, record, signal, deps),
      );
      const leaveCaller = quota.enterCaller(JSON.stringify([principal.issuer, principal.subject]));
      const fixed: Omit<OwnHeaders, "token" | "host"> = {
        framing,
        method: head.method,
        upgrade: protocol,
        address: origin.address,
        auditId: record.auditId,
        identity,
      };
      return {
        ...{ principal, fault },
        framing,
        ...(protocol === undefined ? {} : { upgrade: protocol }),
        headers: (own) => upstreamHeaders(head.lines, { ...fixed, ...own }),
        leave() {
          leaveCaller();
          leaveAll();
        },
      };
    } catch (error) {
      leaveAll();
      throw error;
    }
  };
}

async function identify(
  request: { readonly head: RequestHead; readonly origin: StreamOrigin; readonly webSocket: boolean },
  record: RequestRecord,
  signal: AbortSignal,
  deps: AdmissionDeps,
): Promise<Pick<Admitted, "principal" | "fault"> & { readonly identity: MappedIdentity }> {
  const { lines } = request.head;
  const token = callersToken(lines, { webSocket: request.webSocket });
  const { principal, by, fault } = await deps.authenticate(token, { signal });
  record.principal = principal;
  const rules = deps.rules();
  const caller = callersIdentity(principal, by, rules);
  const acting = await allowedActing(lines, caller, deps.accessReviewer, signal);
  if (acting !== undefined) record.actingAs = acting.username;
  const identity = sentIdentity(caller, acting, { principal, origin: request.origin }, rules);
  return { principal, fault, identity };
}

async function allowedActing(
  lines: HeaderLines,
  caller: MappedIdentity,
  reviewer: AccessReviewer | undefined,
  signal: AbortSignal,
): Promise<MappedIdentity | undefined> {
  if (!lines.some(([name]) => isImpersonationHeader(name))) return undefined;
  if (reviewer === undefined) {
    throw new ConnectError("CC_IMPERSONATION_DENIED", "Acting as somebody else (--as) is off at this cluster", {
      hint: "Repeat the command without --as, or ask the administrator to set impersonation.allowAs.",
    });
  }
  if (headerValues(lines, "impersonate-user").length > 1) {
    throw new ConnectError("CC_REQUEST_REFUSED", "The request is refused: it names more than one user to act as");
  }
  const acting = readActing(lines);
  if (acting !== undefined) await reviewer.mayActAs(caller, acting, { signal });
  return acting;
}
