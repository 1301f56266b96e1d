import type { ClientRequest } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import type { TLSSocket } from "node:tls";
import { bareHost, type Clock } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { MAX_HEADER_BYTES, UPSTREAM_DIAL_MS, UPSTREAM_IDLE_MS } from "../limits/limits.ts";
import { http1Call, type UpstreamCall } from "./call.ts";
import { http2Call, http2Head } from "./http2-call.ts";
import { createHttp2Sessions, type Http2Sessions } from "./http2-sessions.ts";

/** One request to the apiserver, ready to be sent as it is. */
export interface UpstreamRequest {
  readonly method: string;
  /** Sent verbatim. */
  readonly target: string;
  /** Names and values in turn, complete: only the headers that keep the stream open are added. */
  readonly headers: string[];
  /** Takes a stream of its own, which is not used again. */
  readonly upgrade?: boolean;
}

/** A request that is no upgrade. */
export interface UpstreamCallRequest extends Omit<UpstreamRequest, "upgrade"> {
  /** Names the caller. Streams of several callers never share a connection over HTTP/2. */
  readonly caller: string;
  readonly bodiless: boolean;
}

/** The fixed host that every request goes to. */
export interface Upstream {
  /** Value of the Host header. */
  readonly host: string;
  /** Starts a request; its body is the caller's to send. One that is destroyed fails alone, whether or not anything listens. */
  open(request: UpstreamRequest): ClientRequest;
  /** The same for a caller's request that is no upgrade, over HTTP/2 where the apiserver speaks it. */
  call(request: UpstreamCallRequest, options: { readonly signal: AbortSignal }): Promise<UpstreamCall>;
  /** Connections over HTTP/2 that are open. */
  readonly http2Sessions: () => number;
  /** Closes every stream, idle or in use. */
  close(): void;
}

export interface UpstreamOptions {
  /** Whether HTTP/2 is spoken where the apiserver has it. */
  readonly http2: boolean;
}

export interface UpstreamDeps {
  /** PEM of the apiserver's authority; a change takes effect for the next stream that is dialed. */
  readonly ca: () => string;
  readonly clock: Pick<Clock, "setTimer">;
}

export function createUpstream(url: string, options: UpstreamOptions, deps: UpstreamDeps): Upstream {
  const { hostname, port, host } = new URL(url);
  const address = { host: bareHost(hostname), port: port === "" ? 443 : Number(port) };
  const all: Agent[] = [];
  const sessions: Http2Sessions | undefined = options.http2 ? createHttp2Sessions(address, deps) : undefined;
  let current: { readonly ca: string; readonly pooled: Agent; readonly single: Agent } | undefined;

  function agents(): { readonly pooled: Agent; readonly single: Agent } {
    const ca = deps.ca();
    if (current?.ca !== ca) {
      // Requests under way keep the former agents; their idle streams end by themselves.
      const shared = { ca, maxCachedSessions: 100, noDelay: true };
      const pooled = new Agent({ ...shared, keepAlive: true, maxFreeSockets: 64, timeout: UPSTREAM_IDLE_MS });
      const single = new Agent({ ...shared, keepAlive: false });
      all.push(pooled, single);
      current = { ca, pooled, single };
    }
    return current;
  }

  function open({ method, target, headers, upgrade = false }: UpstreamRequest): ClientRequest {
    const { pooled, single } = agents();
    const outgoing = httpsRequest({
      ...address,
      method,
      path: target,
      headers,
      setDefaultHeaders: false,
      agent: upgrade ? single : pooled,
      maxHeaderSize: MAX_HEADER_BYTES,
    });
    // A caller may give it up before anything waits for its answer. Its failure is told to those that wait, and to no process.
    outgoing.on("error", () => {});
    limitDial(outgoing, deps.clock);
    return outgoing;
  }

  return {
    host,
    open,
    async call({ method, target, headers, caller, bodiless }, { signal }) {
      const session = await sessions?.take(caller, { signal });
      if (session === undefined) return http1Call(open({ method, target, headers }));
      const head = http2Head(method, target, headers);
      return http2Call(session.request(head, { endStream: bodiless, waitForTrailers: true }));
    },
    http2Sessions: () => sessions?.size() ?? 0,
    close() {
      sessions?.close();
      for (const agent of all) agent.destroy();
    },
  };
}

function limitDial(outgoing: ClientRequest, clock: UpstreamDeps["clock"]): void {
  outgoing.once("socket", (socket: TLSSocket) => {
    if (outgoing.reusedSocket || !socket.connecting) return;
    const expire = (): void => {
      outgoing.destroy(new ConnectError("CC_APISERVER_UNREACHABLE", "The kube-apiserver could not be dialed in time"));
    };
    const timer = clock.setTimer(UPSTREAM_DIAL_MS, expire);
    socket.once("secureConnect", () => timer.cancel());
    socket.once("close", () => timer.cancel());
  });
}
