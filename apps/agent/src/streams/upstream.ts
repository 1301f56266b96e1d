import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type Clock, isOutOfFiles, onAbort, systemCode } from "@cluster-connect/base";
import { connectSharing, type ReadMemory } from "@cluster-connect/framing";
import { ConnectError, encodeProxyQuestion } from "@cluster-connect/protocol";
import { outOfFiles } from "@cluster-connect/service";
import { type UpstreamAddress, upstreamText } from "./upstream-address.ts";

/** So that a caller hears of an upstream that is not there within two seconds; a packet may be lost once. */
const CONNECT_TIMEOUT_MS = 1_700;
/** How long an auth proxy may take to close a connection that asks it to: so many ticks of this process. */
const TICK_MS = 200;
const TICKS = 5;
/** A tick that is this late does not count: this process, and maybe the machine, had no time for the answer. */
const LATE_TICK_MS = 50;

/** Time between two tries at a unix socket whose queue is full, which the system says at once. */
const FULL_RETRY_MS = 10;

/**
 * Connects to an upstream. The socket keeps its other half open when one ends. A queue that is full is waited for, as
 * the system does for TCP.
 *
 * @param name of the upstream, for the message.
 * @throws ConnectError `CC_UPSTREAM_UNREACHABLE` naming it, its address and the reason; `CC_LIMIT_REACHED` when the agent
 *   may open no more files.
 */
export async function connectUpstream(
  name: string,
  address: UpstreamAddress,
  options: { readonly signal: AbortSignal },
  deps: { readonly readMemory: ReadMemory },
): Promise<Socket> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)]);
  for (;;) {
    try {
      return await connectOnce(name, address, { signal, ended: options.signal }, deps);
    } catch (error) {
      if (!isQueueFull(error) || signal.aborted) throw error;
      await delay(FULL_RETRY_MS, undefined, { signal }).catch(() => {});
    }
  }
}

function isQueueFull(error: unknown): boolean {
  return error instanceof ConnectError && systemCode(error.cause) === "EAGAIN";
}

/** @param options.ended Tells an end of the stream from a time that is up. */
async function connectOnce(
  name: string,
  address: UpstreamAddress,
  { signal, ended }: { readonly signal: AbortSignal; readonly ended: AbortSignal },
  deps: { readonly readMemory: ReadMemory },
): Promise<Socket> {
  const where =
    address.kind === "socket" ? { path: address.path } : { host: address.host, port: address.port, noDelay: true };
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connectSharing({ ...where, allowHalfOpen: true }, deps.readMemory);
  const fail = (reason: string, cause?: unknown): void => {
    socket.destroy();
    const message = `The upstream ${name} at ${upstreamText(address)} cannot be reached: ${reason}`;
    reject(new ConnectError("CC_UPSTREAM_UNREACHABLE", message, { cause }));
  };
  const giveUp = (): void => fail(ended.aborted ? "the stream ended" : "no answer in time");
  const onError = (cause: Error): void => {
    if (isOutOfFiles(cause))
      reject(outOfFiles("agent", { detail: `, so none is left for the upstream ${name}`, cause }));
    else fail(systemCode(cause) || cause.message, cause);
  };
  // The close that follows tells what an error means. An error without a listener would end the process.
  socket.on("error", ignore);
  socket.once("connect", () => resolve(socket));
  socket.on("error", onError);
  const leave = onAbort(signal, giveUp);
  try {
    return await promise;
  } finally {
    leave();
    socket.off("error", onError);
  }
}

/**
 * Asks an auth proxy whether it does anything, over a connection of its own.
 *
 * @returns false when it did not answer in time. Any answer is one, also that it takes no connection.
 */
export async function answersQuestion(
  name: string,
  address: UpstreamAddress,
  deps: { readonly clock: Clock; readonly readMemory: ReadMemory },
): Promise<boolean> {
  const late = new AbortController();
  const stop = tick(TICKS, () => late.abort(), deps.clock);
  try {
    const socket = await connectUpstream(name, address, late, deps);
    socket.end(encodeProxyQuestion());
    socket.resume();
    const leave = onAbort(late.signal, () => socket.destroy());
    await new Promise((resolve) => socket.once("close", resolve));
    leave();
  } catch {
    // It was refused, which is an answer, or it took too long.
  }
  stop();
  return !late.signal.aborted;
}

/** Calls back after so many ticks that came in time. @returns how to stop it. */
function tick(left: number, done: () => void, clock: Clock): () => void {
  const dueAt = clock.monotonicNow() + TICK_MS;
  let stop = (): void => timer.cancel();
  const timer = clock.setTimer(TICK_MS, () => {
    const still = clock.monotonicNow() - dueAt > LATE_TICK_MS ? left : left - 1;
    if (still === 0) done();
    else stop = tick(still, done, clock);
  });
  return () => stop();
}

/** A function in place would keep for the socket's life what connecting it took. */
function ignore(): void {}
