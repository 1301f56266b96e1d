import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { ServingIdentity } from "../../src/certificates/authority.ts";

/** One request as it came out of the auth proxy. */
export interface Recorded {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: readonly string[];
  readonly upgrade: boolean;
  /** Complete when the request has ended. */
  body: string;
}

/** Stands where the kube-apiserver is and writes down each request. */
export interface RecordingUpstream extends AsyncDisposable {
  readonly url: string;
  readonly requests: Recorded[];
  /** Bytes that came after an upgrade was answered. */
  readonly afterUpgrade: () => string;
  /** How it answers; a test sets its own. */
  answer: (request: IncomingMessage, response: ServerResponse, body: string) => void;
  /** Answers as soon as the head is there, if set. */
  answerEarly?: (request: IncomingMessage, response: ServerResponse) => void;
  answerUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  readonly sockets: () => number;
}

/** The values of a header in a recorded request, in order. */
export function valuesOf(recorded: Recorded | undefined, name: string): readonly string[] {
  const raw = recorded?.rawHeaders ?? [];
  return raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === name.toLowerCase());
}

/** The header names of a recorded request, lower-case. */
export function namesOf(recorded: Recorded | undefined): readonly string[] {
  return (recorded?.rawHeaders ?? []).filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
}

export async function startRecordingUpstream(identity: ServingIdentity, port = 0): Promise<RecordingUpstream> {
  const requests: Recorded[] = [];
  const sockets = new Set<Socket>();
  let after = "";
  const server = createServer({
    cert: identity.certPem,
    key: identity.keyPem,
    keepAliveTimeout: 60_000,
    maxHeaderSize: 2_097_152,
  });
  server.maxHeadersCount = 0;
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  });

  const record = (request: IncomingMessage, upgrade: boolean): Recorded => {
    const { method = "", url: target = "", rawHeaders } = request;
    const recorded = { method, target, rawHeaders, upgrade, body: "" };
    requests.push(recorded);
    return recorded;
  };
  const upstream: Omit<RecordingUpstream, "url" | typeof Symbol.asyncDispose> = {
    requests,
    afterUpgrade: () => after,
    sockets: () => sockets.size,
    answer: (_request, response) => {
      response.writeHead(200, { "Content-Type": "application/json" });
      response.end("{}");
    },
    answerUpgrade: (request, socket, head) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\nX-Test: 1\r\n\r\n`,
      );
      after += head.toString("latin1");
      if (head.length > 0) socket.write(head);
      socket.on("data", (chunk: Buffer) => {
        after += chunk.toString("latin1");
        socket.write(chunk);
      });
      socket.on("end", () => socket.end());
      socket.on("error", () => socket.destroy());
    },
  };
  server.on("request", (request, response) => {
    const recorded = record(request, false);
    if (result.answerEarly !== undefined) {
      result.answerEarly(request, response);
      return;
    }
    request.setEncoding("latin1");
    request.on("data", (chunk: string) => {
      recorded.body += chunk;
    });
    request.on("end", () => result.answer(request, response, recorded.body));
    request.on("error", () => response.destroy());
  });
  server.on("upgrade", (request, socket, head) => {
    record(request, true);
    result.answerUpgrade(request, socket, head);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the recording upstream has no port");
  const result: RecordingUpstream = Object.assign(upstream, {
    url: `https://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      if (server.listening) await once(server, "close").catch(() => {});
    },
  });
  return result;
}
