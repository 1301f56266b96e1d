import { ConnectError, type GoawayPayload } from "@cluster-connect/protocol";
import { type ChannelEnd, CLOSE_GOING_AWAY, CLOSE_LOST, CLOSE_NORMAL } from "../channel.ts";
import { suspends } from "../resume/lost.ts";
import type { Drain } from "./drain.ts";
import type { SessionEnd } from "./options.ts";

/** How a session ends whose channel closed: as was announced, without complaint, or lost. */
export function endOfChannel(end: ChannelEnd, drain: Pick<Drain, "end" | "refuses">): SessionEnd {
  if (drain.end !== undefined) return drain.end;
  if (end.code === CLOSE_NORMAL || end.code === CLOSE_GOING_AWAY) {
    return { code: undefined, text: end.reason, by: drain.refuses ? "local" : "peer", retryAfterMs: 0 };
  }
  const how = end.code === CLOSE_LOST ? "was lost" : `was closed with code ${end.code}`;
  return { code: "CC_CHANNEL_LOST", text: `The channel ${how}`, by: "network", retryAfterMs: 0 };
}

/** How a session ends that the peer refused during the handshake. */
export function endOfRefusal({ code, text, retryAfterMs }: GoawayPayload): SessionEnd {
  return {
    code: code ?? "CC_SESSION_CLOSED",
    text: text === "" ? "The peer refused the session" : text,
    by: "peer",
    retryAfterMs,
  };
}

/** How a session ends that this side ends itself, or finds dead. */
export function endOfError({ code, message }: ConnectError, by: "local" | "network"): SessionEnd {
  return { code, text: message, by, retryAfterMs: 0 };
}

/** The error for streams: whether they may go on over another channel. */
export function errorForStreams(end: SessionEnd): ConnectError {
  const final = end.code !== undefined && !suspends(end.code);
  return new ConnectError(final ? end.code : "CC_CHANNEL_LOST", textOf(end));
}

/** The error for callers that wait for the session to be ready. */
export function errorForReady(end: SessionEnd): ConnectError {
  const retry = end.retryAfterMs > 0 ? { retryAfterMs: end.retryAfterMs } : {};
  return new ConnectError(end.code ?? "CC_SESSION_CLOSED", textOf(end), retry);
}

function textOf({ text }: SessionEnd): string {
  return text === "" ? "The session ended" : text;
}
