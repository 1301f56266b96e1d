import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Clock } from "@cluster-connect/base";
import type { ConnectError } from "@cluster-connect/protocol";
import { MAX_DROPPED } from "../limits/limits.ts";
import { linger } from "../proxying/linger.ts";
import { statusAnswer } from "../proxying/status-body.ts";
import type { Exchanges } from "./exchanges.ts";

/** A request that no handler gets. */
export interface Refusal {
  readonly error: ConnectError;
  readonly status: number;
  /** Absent where not even its head could be read. */
  readonly request?: Pick<IncomingMessage, "method" | "url">;
}

/** Refuses requests that no handler gets. Each refusal is written down and is the last answer on its stream. */
export interface Refusals {
  /** Answers at once; breaks the stream off where that answer would stand in the middle of another. */
  now(client: Duplex, refusal: Refusal): void;
  /** Answers when the answers before it are out. */
  inTurn(response: ServerResponse, refusal: Refusal): void;
  /** Whether a request comes behind a refusal and gets no answer. Too many of them break the stream off. */
  drops(client: Duplex): boolean;
}

export interface RefusalsDeps {
  readonly refused: (client: Duplex, refusal: Refusal) => void;
  readonly exchanges: Exchanges;
  readonly clock: Pick<Clock, "setTimer">;
}

export function createRefusals(deps: RefusalsDeps): Refusals {
  /** Streams that were told their last, and how many requests were dropped on them since. */
  const ending = new WeakMap<Duplex, number>();

  return {
    now(client, refusal) {
      // A stream that we have broken off ourselves comes by here as well.
      if (ending.has(client) || client.destroyed) return;
      ending.set(client, 0);
      deps.refused(client, refusal);
      const heard = client.writable && deps.exchanges.untold(client);
      deps.exchanges.abandon(client);
      if (!heard) {
        client.destroy();
        return;
      }
      client.write(refusalBytes(refusal));
      linger(client, deps.clock);
    },
    inTurn(response, refusal) {
      const { socket } = response.req;
      ending.set(socket, 0);
      deps.exchanges.begin(socket, response);
      deps.refused(socket, refusal);
      const { headers, body } = statusAnswer(refusal.error, { status: refusal.status });
      response.writeHead(refusal.status, [...headers, "Connection", "close"]);
      response.end(body);
      // Node reads on by itself when it has a reason; bytes that come then are dropped.
      socket.pause();
    },
    drops(client) {
      const dropped = ending.get(client);
      if (dropped === undefined) return false;
      ending.set(client, dropped + 1);
      if (dropped >= MAX_DROPPED) client.destroy();
      return true;
    },
  };
}

/** The whole answer, for a stream that no response stands for. */
function refusalBytes({ error, status }: Refusal): Buffer {
  const { headers, body } = statusAnswer(error, { status });
  const lines = [`HTTP/1.1 ${status} `, "Connection: close"];
  for (let index = 0; index + 1 < headers.length; index += 2) lines.push(`${headers[index]}: ${headers[index + 1]}`);
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), body]);
}
