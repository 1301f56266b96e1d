import { connect, type Socket } from "node:net";
import { type Clock, onAbort } from "@cluster-connect/base";

/** Where a socket connects to. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** The effects of connecting beside a socket. */
export interface OvertakeDeps {
  readonly clock: Clock;
  readonly connect: (place: Place) => Socket;
}

/** Connects as any program does. */
export const connectTcp = (place: Place): Socket => connect({ ...place, noDelay: true });

/** A first packet that was dropped is sent again after 1, 2 and 4 s, too late for a host that has just come back. */
const EVERY_MS = 1_000;

/**
 * Makes an attempt to connect, and makes it anew when another connect to the same place is answered while its own still
 * waits. So a host that drops packets and is back is noticed within a second, and no second handshake is begun.
 *
 * @param attempt tells its socket as soon as it has one, and gives up when the signal is aborted.
 * @throws the attempt's error, or the signal's reason.
 */
export async function overtaking<T>(
  place: Place,
  attempt: (tell: (socket: Socket) => void, signal: AbortSignal) => Promise<T>,
  { signal }: { readonly signal: AbortSignal },
  deps: OvertakeDeps,
): Promise<T> {
  for (;;) {
    const [overtaken, over] = [new AbortController(), new AbortController()];
    const tell = (socket: Socket): void =>
      connectBeside(socket, place, { found: () => overtaken.abort(), signal: over.signal }, deps);
    try {
      return await attempt(tell, AbortSignal.any([signal, overtaken.signal]));
    } catch (error) {
      if (signal.aborted || !overtaken.signal.aborted) throw error;
    } finally {
      over.abort();
    }
  }
}

/** Connects once a second while the socket waits for its first answer, and calls `found` when one is answered. */
function connectBeside(
  socket: Socket,
  place: Place,
  { found, signal }: { readonly found: () => void; readonly signal: AbortSignal },
  { clock, connect: connectTo }: OvertakeDeps,
): void {
  if (!socket.connecting || signal.aborted) return;
  let beside: Socket | undefined;
  const next = (): void => {
    beside?.destroy();
    const one = connectTo(place);
    beside = one;
    one.on("error", () => {}); // the socket's own error is the one that counts
    one.once("connect", () => {
      stop();
      if (socket.connecting) found();
    });
    timer = clock.setTimer(EVERY_MS, next);
  };
  const stop = (): void => {
    timer.cancel();
    beside?.destroy();
    leave();
    socket.off("connect", stop).off("close", stop);
  };
  let timer = clock.setTimer(EVERY_MS, next);
  const leave = onAbort(signal, stop);
  socket.once("connect", stop).once("close", stop);
}
