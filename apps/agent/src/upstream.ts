import { createConnection, type Socket } from "node:net";
import { ConnectError } from "@cluster-connect/protocol";
import { type UpstreamAddress, upstreamText } from "./upstream-address.ts";

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Connects to an upstream. The socket keeps its other half open when one ends.
 *
 * @param name of the upstream, for the message.
 * @throws ConnectError `CC_UPSTREAM_UNREACHABLE` naming it, its address and the reason.
 */
export async function connectUpstream(
  name: string,
  address: UpstreamAddress,
  options: { readonly signal: AbortSignal },
): Promise<Socket> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)]);
  const where =
    address.kind === "socket" ? { path: address.path } : { host: address.host, port: address.port, noDelay: true };
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = createConnection({ ...where, allowHalfOpen: true });
  const fail = (reason: string, cause?: unknown): void => {
    socket.destroy();
    const message = `The upstream ${name} at ${upstreamText(address)} cannot be reached: ${reason}`;
    reject(new ConnectError("CC_UPSTREAM_UNREACHABLE", message, { cause }));
  };
  const onAbort = (): void => fail(options.signal.aborted ? "the stream ended" : "no answer in time");
  const onError = (cause: NodeJS.ErrnoException): void => fail(cause.code ?? cause.message, cause);
  // What an error means is told by the close that follows; without this one between two users would end the process.
  socket.on("error", ignore);
  socket.once("connect", () => resolve(socket));
  socket.once("error", onError);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", onAbort);
    socket.off("error", onError);
  }
}

/** A function in place would keep for the socket's life what connecting it took. */
function ignore(): void {}
