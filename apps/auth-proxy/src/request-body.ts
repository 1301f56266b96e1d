import type { ClientRequest, IncomingMessage } from "node:http";
import { ConnectError } from "@cluster-connect/protocol";
import { REPEATABLE_BODY_BYTES } from "./limits.ts";
import type { Framing } from "./request-rules.ts";

/** A request's body on its way to the apiserver. */
export interface RequestBody {
  /** Whether it can be sent once more, because nothing of it is gone. */
  readonly repeatable: boolean;
  /** Sends it whole, or passes it on as it comes; ends the outgoing request with it. */
  send(outgoing: ClientRequest): void;
}

/**
 * A small body is read before anything is sent, so that a request that the apiserver did not take can be repeated;
 * a large one, or one of unknown length, is passed on as it comes.
 *
 * @throws ConnectError `CC_CANCELLED` when a small body breaks off.
 */
export async function takeBody(
  request: IncomingMessage,
  framing: Framing,
  options: { readonly signal: AbortSignal },
): Promise<RequestBody> {
  if (framing.kind === "chunked" || (framing.kind === "length" && framing.bytes > REPEATABLE_BODY_BYTES)) {
    return { repeatable: false, send: (outgoing) => passOn(request, outgoing) };
  }
  const body = framing.kind === "none" || framing.bytes === 0 ? undefined : await readWhole(request, options.signal);
  return {
    repeatable: true,
    send: (outgoing) => {
      outgoing.end(body);
    },
  };
}

/** Leaves the stream usable when it is given up, so that the caller can be told. */
function readWhole(request: IncomingMessage, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
    };
    const settle = (): void => {
      request.off("data", onData);
      request.off("end", onEnd);
      request.off("close", onBroken);
      signal.removeEventListener("abort", onAbort);
    };
    const onEnd = (): void => {
      settle();
      resolve(Buffer.concat(chunks));
    };
    const onBroken = (): void => {
      settle();
      reject(new ConnectError("CC_CANCELLED", "The request's body broke off"));
    };
    const onAbort = (): void => {
      settle();
      reject(signal.reason);
    };
    request.on("error", () => {}); // close follows
    request.on("data", onData);
    request.once("end", onEnd);
    request.once("close", onBroken);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** A body that breaks off here breaks off there. */
function passOn(request: IncomingMessage, outgoing: ClientRequest): void {
  const stop = (): void => {
    if (!request.complete) outgoing.destroy();
  };
  request.once("close", stop);
  request.once("error", stop);
  outgoing.once("close", () => {
    request.off("close", stop);
    request.off("error", stop);
  });
  request.pipe(outgoing);
}
