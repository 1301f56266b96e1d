import type { ClientRequest, IncomingMessage } from "node:http";
import { isOutOfFiles, systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { outOfFiles } from "@cluster-connect/service";

const UNTRUSTED: ReadonlySet<string> = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_SIGNATURE_FAILURE",
]);

/** Resolves with the answer's head. @throws ConnectError `CC_APISERVER_UNREACHABLE` when there is none. */
export function answerTo(outgoing: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once("response", resolve);
    outgoing.on("error", (cause) => reject(unreachable(cause)));
    outgoing.once("close", () => reject(unreachable(new Error("closed"))));
  });
}

/** Says why the apiserver could not be asked, without the request's content. */
export function unreachable(cause: unknown): ConnectError {
  if (cause instanceof ConnectError) return cause;
  if (isOutOfFiles(cause)) return outOfFiles("auth proxy", { cause });
  const reason = systemCode(cause) || "the stream broke off";
  return new ConnectError("CC_APISERVER_UNREACHABLE", `The kube-apiserver did not answer: ${reason}`, { cause });
}

/** Whether the stream was closed while nothing had come back. */
export function isReset(error: unknown): boolean {
  const code = causeCode(error);
  return code === "ECONNRESET" || code === "EPIPE";
}

/** Whether the apiserver's certificate is not of an authority that we know; nothing was sent then. */
export function isUntrusted(error: unknown): boolean {
  return UNTRUSTED.has(causeCode(error));
}

/** The failure behind an error of ours. */
export function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

function causeCode(error: unknown): string {
  return systemCode(causeOf(error));
}
