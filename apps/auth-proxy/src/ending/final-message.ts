import { ConnectError } from "@cluster-connect/protocol";
import { statusText } from "../proxying/status-body.ts";
import type { FrameTracker } from "./frame-tracker.ts";
import { createSpdyTracker, lastDataFrame } from "./spdy-frames.ts";
import { closeFrame, createWebSocketTracker } from "./websocket-frames.ts";

/** How a caller is told on an upgraded stream why it ends. */
export interface FinalMessage {
  readonly tracker: FrameTracker;
  /** The frame that says it. */
  frame(reason: unknown): Buffer;
}

/** kubectl opens the stream for the command's outcome before all others. */
const ERROR_STREAM_ID = 1;
/** From this version of the protocol on the outcome is a `metav1.Status`; before it was a line of text. */
const STATUS_PROTOCOL = /^v[4-9]\.channel\.k8s\.io$/;
const TEXT_PROTOCOL = /^v[23]\.channel\.k8s\.io$/;

/**
 * Finds how to tell the caller of this upgrade why it ends; undefined when its protocol has no place for it.
 *
 * @param upgrade The protocol switched to.
 * @param streamProtocol The apiserver's `X-Stream-Protocol-Version`: the protocol of an exec's streams over SPDY.
 * @see k8s.io/client-go/tools/remotecommand, v2.go and v4.go
 */
export function finalMessageOf(upgrade: string, streamProtocol: string): FinalMessage | undefined {
  if (upgrade.toLowerCase() === "websocket") {
    return { tracker: createWebSocketTracker(), frame: (reason) => closeFrame(endError(reason).message) };
  }
  const toText = STATUS_PROTOCOL.test(streamProtocol)
    ? statusText
    : TEXT_PROTOCOL.test(streamProtocol)
      ? (error: ConnectError): string => error.message
      : undefined;
  if (toText === undefined) return undefined;
  return {
    tracker: createSpdyTracker(),
    frame: (reason) => lastDataFrame(ERROR_STREAM_ID, Buffer.from(toText(endError(reason)))),
  };
}

function endError(reason: unknown): ConnectError {
  return reason instanceof ConnectError ? reason : new ConnectError("CC_STREAM_RESET", "The stream was ended");
}
