import {
  type HeaderLines,
  headerValues,
  isImpersonationHeader,
  type MappedIdentity,
  type Principal,
} from "@cluster-connect/auth";
import { type Clock, takeAll } from "@cluster-connect/base";
import { ConnectError, type StreamOrigin } from "@cluster-connect/protocol";
import { withDeadline } from "../limits/deadline.ts";
import { ADMISSION_TIMEOUT_MS } from "../limits/limits.ts";
import type { RequestKind, RequestQuotas } from "../limits/quotas.ts";
import type { RequestRecord } from "../observe/record.ts";
import type { AccessReviewer } from "./access-review.ts";
import { readActing } from "./acting.ts";
import type { AuthenticateCaller } from "./authenticate.ts";
import { callersToken } from "./credential.ts";
import { callersIdentity, type IdentityRules, sentIdentity } from "./identity.ts";
import { checkRequest, checkUpgrade, type Framing, type RequestHead } from "./rules.ts";
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
  readonly clock: Pick<Clock, "setTimer">;
  readonly authenticate: AuthenticateCaller;
  /** Absent when acting as another identity is off. */
  readonly accessReviewer?: AccessReviewer | undefined;
  readonly rules: IdentityRules;
  readonly quotas: RequestQuotas;
}

export interface AdmissionRequest {
  readonly head: RequestHead;
  readonly origin: StreamOrigin;
  /** The parser decides which request is an upgrade. */
  readonly kind: RequestKind;
}

/** Everything that stands between a caller and the apiserver, in one place and order. */
export type Admit = (
  request: AdmissionRequest,
  record: RequestRecord,
  options: { readonly signal: AbortSignal },
) => Promise<Admitted>;

/** @throws ConnectError of the first rule that is not met; nothing was sent to the apiserver as the caller then. */
export function createAdmit(deps: AdmissionDeps): Admit {
  return async (request, record, options) => {
    const { head, origin, kind } = request;
    const framing = checkRequest(head);
    const protocol = kind === "upgrade" ? checkUpgrade(head, framing) : undefined;
    const deadline = { ms: ADMISSION_TIMEOUT_MS, what: "Checking who is calling", signal: options.signal };
    const places = takeUnknownPlace(request, deps.quotas);
    try {
      const webSocket = protocol?.toLowerCase() === "websocket";
      const { principal, identity, acting, fault } = await withDeadline(
        deadline,
        (signal) => identify({ head, origin, webSocket, places }, record, signal, deps),
        deps.clock,
      );
      const fixed: Omit<OwnHeaders, "token" | "host"> = {
        framing,
        method: head.method,
        upgrade: protocol,
        address: origin.address,
        auditId: record.auditId,
        identity,
        acting,
      };
      return {
        principal,
        fault,
        framing,
        ...(protocol === undefined ? {} : { upgrade: protocol }),
        headers: (own) => upstreamHeaders(head.lines, { ...fixed, ...own }),
        leave: places.leave,
      };
    } catch (error) {
      places.leave();
      throw error;
    }
  };
}

/** The place of one request: among the unknown ones first, then among its caller's. */
interface RequestPlaces {
  /** @throws ConnectError `CC_LIMIT_REACHED`. */
  known(principal: Principal): void;
  leave(): void;
}

function takeUnknownPlace({ origin, kind }: AdmissionRequest, quotas: RequestQuotas): RequestPlaces {
  const { unknown } = quotas;
  const quota = quotas[kind];
  let leave = takeAll([unknown.enter, () => unknown.enterCaller(relayCaller(origin))]);
  return {
    known({ issuer, subject }) {
      const leaveUnknown = leave;
      leave = takeAll([quota.enter, () => quota.enterCaller(JSON.stringify([issuer, subject]))]);
      leaveUnknown();
    },
    leave: () => leave(),
  };
}

/** The stream's caller as the relay knows them; unknown callers share their limits by it. */
function relayCaller({ username, sessionId }: StreamOrigin): string {
  return username ?? sessionId ?? "";
}

interface Unidentified {
  readonly head: RequestHead;
  readonly origin: StreamOrigin;
  readonly webSocket: boolean;
  readonly places: RequestPlaces;
}

async function identify(
  { head, origin, webSocket, places }: Unidentified,
  record: RequestRecord,
  signal: AbortSignal,
  deps: AdmissionDeps,
): Promise<Pick<Admitted, "principal" | "fault"> & Pick<OwnHeaders, "identity" | "acting">> {
  const { lines } = head;
  const token = callersToken(lines, { webSocket });
  const { principal, by, fault } = await deps.authenticate(token, { signal, caller: relayCaller(origin) });
  record.principal = principal;
  places.known(principal);
  const { rules } = deps;
  const caller = callersIdentity(principal, by, rules);
  const acting = await allowedActing(lines, caller, deps.accessReviewer, signal);
  if (acting !== undefined) record.actingAs = acting.username;
  const identity = sentIdentity(caller, acting, { principal, origin }, rules);
  return { principal, fault, identity, acting: acting !== undefined };
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
