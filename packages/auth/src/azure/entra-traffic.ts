import type { TokenCredentialOptions } from "@azure/identity";
import type { ConnectError } from "@cluster-connect/protocol";

/** How the requests to Entra ended. The first failure counts, as the library may go on without its answer. */
export type EntraAnswer =
  | { readonly kind: "none" }
  | { readonly kind: "unreachable"; readonly host: string; readonly cause: unknown }
  | { readonly kind: "answered"; readonly host: string; readonly status: number; readonly body: string };

/** Watches the library's requests: its own errors do not tell a lost network from a login that ran out. */
export interface EntraTraffic {
  readonly answer: EntraAnswer;
  /** For the credential's options. */
  readonly options: Pick<TokenCredentialOptions, "additionalPolicies" | "retryOptions">;
}

export interface EntraDeps {
  /** Makes the error for a host that does not answer. */
  readonly unreachable: (host: string, cause: unknown) => ConnectError;
  /** Whether an answer that is no token passes by itself, by its status and its field `error`. */
  readonly isTransient: (status: number, error: unknown) => boolean;
}

/** The caller tries again itself, with kubectl waiting for it. */
const RETRIES = { maxRetries: 1, retryDelayInMs: 250, maxRetryDelayInMs: 2_000 } as const;

type Policies = NonNullable<TokenCredentialOptions["additionalPolicies"]>;

/** @param options `signal` ends requests that are under way. */
export function watchTraffic(options: { readonly signal: AbortSignal }): EntraTraffic {
  let found: EntraAnswer = { kind: "none" };
  const note = (answer: EntraAnswer): void => {
    if (!isFailure(found)) found = answer;
  };
  const policies: Policies = [
    {
      position: "perCall",
      policy: {
        name: "clusterConnectTraffic",
        async sendRequest(request, next) {
          const { host } = new URL(request.url);
          const outer = request.abortSignal;
          request.abortSignal =
            outer instanceof AbortSignal ? AbortSignal.any([outer, options.signal]) : options.signal;
          try {
            const response = await next(request);
            note({ kind: "answered", host, status: response.status, body: response.bodyAsText ?? "" });
            return response;
          } catch (cause) {
            note({ kind: "unreachable", host, cause });
            throw cause;
          }
        },
      },
    },
  ];
  return {
    get answer() {
      return found;
    },
    options: { additionalPolicies: policies, retryOptions: RETRIES },
  };
}

/** While a person has not entered the device's code, each question is answered with status 400. */
function isFailure(answer: EntraAnswer): boolean {
  switch (answer.kind) {
    case "none":
      return false;
    case "unreachable":
      return true;
    case "answered":
      return answer.status >= 400 && !/"(authorization_pending|slow_down)"/.test(answer.body);
  }
}
