import { type ConnectError, toConnectError } from "@cluster-connect/protocol";
import type { MessageChannel } from "../channel.ts";
import { createDecoder, type Frame } from "../frames/decode.ts";

/**
 * While this much waits to leave, nothing more is read, and no stream is begun. A peer that asks and never reads costs
 * no more than this. Nor does one that has others open streams towards a peer that never reads.
 */
export const CHANNEL_FULL_BYTES = 2_097_152;

/** Frames on their way out of a channel, one at a time, unless reading is held. */
export interface FrameReader {
  /** @param bytes are true during the call only. */
  push(bytes: Uint8Array): void;
  /** Reads nothing more until {@link release}. */
  hold(): void;
  release(): void;
  /** The channel has room to send again. */
  drained(): void;
  close(): void;
}

export interface FrameReaderListener {
  frame(frame: Frame): void;
  /** The bytes that came cannot be read, or `frame` threw; nothing more is read. */
  failed(error: ConnectError): void;
}

export function createFrameReader(channel: MessageChannel, listener: FrameReaderListener): FrameReader {
  const decoder = createDecoder();
  let input: Uint8Array[] = [];
  let held = false;
  let full = false;
  let closed = false;

  function read(): void {
    try {
      while (!held && !full && !closed) {
        const frame = decoder.next();
        if (frame !== undefined) {
          listener.frame(frame);
          if (channel.bufferedBytes > CHANNEL_FULL_BYTES) {
            full = true;
            channel.pause();
          }
          continue;
        }
        const message = input.shift();
        if (message === undefined) return;
        decoder.push(message);
      }
    } catch (error) {
      close();
      listener.failed(toConnectError(error));
    }
  }

  function resume(): void {
    if (held || full || closed) return;
    channel.resume();
    read();
  }

  function close(): void {
    closed = true;
    input = [];
  }

  return {
    push(bytes) {
      if (closed) return;
      if (held || full) {
        input.push(new Uint8Array(bytes));
        return;
      }
      decoder.push(bytes);
      read();
      if (held || full) decoder.keep();
    },
    hold() {
      held = true;
      channel.pause();
    },
    release() {
      held = false;
      resume();
    },
    drained() {
      if (!full) return;
      full = false;
      resume();
    },
    close,
  };
}
