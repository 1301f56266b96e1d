import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/** The requests that wait for their answers, by the socket they came on. */
export interface Exchanges {
  /**
   * Takes in a request, or an upgrade, which has the socket to itself until it is closed.
   *
   * @returns is aborted when the caller can no longer be answered. It hangs on the socket: Node tells the response of a
   *   pipelined request nothing about its end, and none of the responses once another request has become an upgrade.
   */
  begin(socket: Duplex, response?: ServerResponse): AbortSignal;
  /** Requests of this socket that are not answered yet. */
  readonly of: (socket: Duplex) => number;
  /** Whether an answer now is to the request that is just coming in, and to no other. */
  readonly untold: (socket: Duplex) => boolean;
  /** Gives up the unanswered requests of this socket; another part has the last word on it. */
  abandon(socket: Duplex): void;
  readonly size: () => number;
}

type Unanswered = Map<AbortController, ServerResponse | undefined>;

export function createExchanges(): Exchanges {
  const bySocket = new Map<Duplex, Unanswered>();

  function abandon(socket: Duplex): void {
    const unanswered = bySocket.get(socket) ?? new Map();
    for (const gone of unanswered.keys()) gone.abort();
    unanswered.clear();
  }

  function open(socket: Duplex): Unanswered {
    const known = bySocket.get(socket);
    if (known !== undefined) return known;
    const unanswered: Unanswered = new Map();
    bySocket.set(socket, unanswered);
    const onClose = (): void => {
      abandon(socket);
      bySocket.delete(socket);
    };
    if (socket.closed) queueMicrotask(onClose);
    else socket.once("close", onClose);
    return unanswered;
  }

  return {
    begin(socket, response) {
      const unanswered = open(socket);
      const gone = new AbortController();
      unanswered.set(gone, response);
      response?.once("finish", () => unanswered.delete(gone));
      response?.once("close", () => {
        if (unanswered.delete(gone)) gone.abort();
      });
      return gone.signal;
    },
    of: (socket) => bySocket.get(socket)?.size ?? 0,
    untold(socket) {
      const [first, ...others] = bySocket.get(socket)?.values() ?? [];
      if (others.length > 0) return false;
      return first === undefined ? !bySocket.get(socket)?.size : !first.headersSent && !first.req.complete;
    },
    abandon,
    size: () => [...bySocket.values()].reduce((sum, unanswered) => sum + unanswered.size, 0),
  };
}
