import { createConnection, type Socket } from "node:net";
import { isOutOfFiles, onAbort, systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { outOfFiles } from "@cluster-connect/service";
import { type UpstreamAddress, upstreamText } from "./upstream-address.ts";

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Connects to an upstream. The socket keeps its other half open when one ends.
 *
 * @param name of the upstream, for the message.
 * @throws ConnectError `CC_UPSTREAM_UNREACHABLE` naming it, its address and the reason; `CC_LIMIT_REACHED` when the agent
 *   may open no more files.
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
  const giveUp = (): void => fail(options.signal.aborted ? "the stream ended" : "no answer in time");
  const onError = (cause: Error): void => {
    if (isOutOfFiles(cause))
      reject(outOfFiles("agent", { detail: `, so none is left for the upstream ${name}`, cause }));
    else fail(systemCode(cause) || cause.message, cause);
  };
  // The close that follows tells what an error means. An error without a listener would end the process.
  socket.on("error", ignore);
  socket.once("connect", () => resolve(socket));
  socket.once("error", onError);
  const leave = onAbort(signal, giveUp);
  try {
    return await promise;
  } finally {
    leave();
    socket.off("error", onError);
  }
}

/** A function in place would keep for the socket's life what connecting it took. */
function ignore(): void {}
