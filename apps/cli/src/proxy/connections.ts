import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { MuxStream } from "@cluster-connect/framing";

/** A local connection that is served. */
export interface LocalConnection {
  readonly socket: Socket;
  /** Undefined until it is opened. */
  stream: Duplex | undefined;
}

/** The connections of a local proxy. */
export interface LocalConnections {
  readonly size: number;
  /** Serves a connection until `work` is done. */
  serve(socket: Socket, work: (connection: LocalConnection) => Promise<void>): void;
  /**
   * Lets connections end. Those with bytes in hand, or with one side that has said everything, get their time. Others
   * are closed once nothing passes any more.
   *
   * @returns how many were left when the time was over, or the signal aborted.
   */
  drain(options: { readonly lingerMs: number; readonly signal: AbortSignal }): Promise<number>;
  destroy(): void;
}

const LOOK_MS = 50;
/** So many looks in a row at which nothing had passed: what the system had still to hand over is here by then. */
const QUIET_LOOKS = 3;

export function createLocalConnections(): LocalConnections {
  const open = new Set<LocalConnection>();
  return {
    get size() {
      return open.size;
    },
    serve(socket, work) {
      const connection: LocalConnection = { socket, stream: undefined };
      open.add(connection);
      void work(connection).finally(() => {
        if (socket.closed) open.delete(connection);
        else socket.once("close", () => open.delete(connection));
      });
    },
    async drain({ lingerMs, signal }) {
      const until = performance.now() + lingerMs;
      const quiet = new Map<LocalConnection, { readonly passed: number; readonly looks: number }>();
      while (open.size > 0 && performance.now() < until && !signal.aborted) {
        for (const connection of open) {
          const passed = connection.socket.bytesRead + connection.socket.bytesWritten;
          const last = quiet.get(connection);
          const looks = last?.passed === passed && !isInHand(connection) ? last.looks + 1 : 0;
          quiet.set(connection, { passed, looks });
          // The splice first lets the far side take all that was said.
          if (looks >= QUIET_LOOKS) connection.socket.destroy();
        }
        await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
      }
      return open.size;
    },
    destroy() {
      for (const { socket } of open) socket.destroy();
    },
  };
}

/** Bytes are on their way, or one side has said everything and the other one may still answer. */
function isInHand({ socket, stream }: LocalConnection): boolean {
  if (socket.destroyed) return true;
  if (stream === undefined) return socket.bytesRead > 0;
  if (socket.readableEnded || stream.readableEnded) return true;
  const waitingBytes = stream instanceof MuxStream ? stream.waitingBytes : 0;
  return (
    socket.readableLength + socket.writableLength + stream.readableLength + stream.writableLength + waitingBytes > 0
  );
}
