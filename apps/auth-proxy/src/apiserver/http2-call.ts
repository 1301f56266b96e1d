import type { ClientHttp2Stream } from "node:http2";
import { type HeaderLines, toHeaderLines, toHttp2Headers, toHttp2Trailers } from "@cluster-connect/auth";
import { systemCode } from "@cluster-connect/base";
import { causeOf, unreachable } from "./answer.ts";
import type { CallFate, UpstreamAnswer, UpstreamCall } from "./call.ts";
import { watchBody } from "./http2-body.ts";

/** Lines that frame a message over HTTP/1.1 and that HTTP/2 has frames for. */
const FRAMING: ReadonlySet<string> = new Set(["host", "transfer-encoding", "connection"]);

/**
 * The head of a request over HTTP/2.
 *
 * @param headers Names and values in turn, as HTTP/1.1 would have them.
 */
export function http2Head(method: string, target: string, headers: readonly string[]): string[] {
  const lines = toHeaderLines(headers);
  const host = lines.find(([name]) => name.toLowerCase() === "host")?.[1] ?? "";
  const pseudo: HeaderLines = [
    [":method", method],
    [":scheme", "https"],
    [":authority", host],
    [":path", target],
  ];
  return toHttp2Headers([...pseudo, ...lines.filter(([name]) => !FRAMING.has(name.toLowerCase()))]);
}

/** A call over HTTP/2. @param stream was opened with `waitForTrailers`. */
export function http2Call(stream: ClientHttp2Stream): UpstreamCall {
  let trailersToSend: HeaderLines = [];
  stream.on("error", () => {}); // a caller may give it up before anything waits for its answer
  stream.on("wantTrailers", () => stream.sendTrailers(toHttp2Trailers(trailersToSend)));
  const { complete } = watchBody(stream);
  let trailers: readonly string[] = [];
  stream.once("trailers", (_headers: unknown, _flags: number, raw: readonly string[]) => {
    trailers = raw;
  });
  return {
    body: stream,
    answer: () => answerOn(stream, { complete, trailers: () => trailers }),
    addTrailers(lines) {
      trailersToSend = lines;
    },
    fate: (error) => fateOf(error),
  };
}

function answerOn(
  stream: ClientHttp2Stream,
  after: Pick<UpstreamAnswer, "complete" | "trailers">,
): Promise<UpstreamAnswer> {
  return new Promise((resolve, reject) => {
    stream.once("response", (head, _flags, raw: readonly string[]) => {
      const headers = toHeaderLines(raw).filter(([name]) => !name.startsWith(":"));
      resolve({ status: head[":status"] ?? 0, message: "", headers: headers.flat(), body: stream, ...after });
    });
    stream.on("error", (cause) => reject(unreachable(cause)));
    stream.once("close", () => reject(unreachable(new Error("closed"))));
  });
}

/** A stream that was refused was not acted on, and neither was one that a GOAWAY left out. */
function fateOf(error: unknown): CallFate {
  const cause = causeOf(error);
  const code = systemCode(cause);
  if (code === "ERR_HTTP2_GOAWAY_SESSION" || code === "ERR_HTTP2_INVALID_SESSION") return "untaken";
  if (code === "ERR_HTTP2_STREAM_ERROR" && cause instanceof Error && cause.message.includes("REFUSED_STREAM")) {
    return "untaken";
  }
  return code === "ECONNRESET" || code === "EPIPE" ? "closedWhenReused" : "unknown";
}
