import type { Clock } from "@cluster-connect/base";
import { type ChannelEnd, type ChannelListener, CLOSE_LOST, type MessageChannel } from "../channel.ts";
import { payloadBytes } from "../frames/encode.ts";

export interface MemoryChannelOptions {
  /** One way, milliseconds; 0 delivers as soon as the sender's turn is over. */
  readonly delayMs?: () => number;
  /** Rate of the path each way, bytes per millisecond; bytes beyond it wait in front of it, as in a router. */
  readonly bytesPerMs?: number;
  /** Bytes that count as gone from the process: the system's own buffers. */
  readonly systemBufferBytes?: number;
  /** Cuts or joins sent bytes: given the bytes of one message and its sender, returns the messages that arrive. */
  readonly reshape?: (bytes: Uint8Array, from: ChannelSide) => readonly Uint8Array[];
}

export type ChannelSide = "dialer" | "acceptor";

/** Two ends of one channel, and the ways it can break. */
export interface MemoryChannelPair {
  readonly dialer: MessageChannel;
  readonly acceptor: MessageChannel;
  /** Both ends learn at once that the channel is gone. */
  cut(): void;
  /** Nothing arrives any more, or nothing of one side, and neither side is told: a link that is dead in the middle. */
  stall(from?: ChannelSide): void;
  /** Bytes that a stall kept back arrive. */
  unstall(): void;
}

const LOW_BYTES = 131_072;

interface End extends MessageChannel {
  deliver(bytes: Uint8Array): void;
  ended(end: ChannelEnd): void;
  retry(): void;
}

/** A channel without a network. */
export function memoryChannelPair(options: MemoryChannelOptions, deps: { readonly clock: Clock }): MemoryChannelPair {
  const stalled = { dialer: false, acceptor: false };
  const dialer = createEnd("dialer", () => acceptor);
  const acceptor = createEnd("acceptor", () => dialer);

  function createEnd(side: ChannelSide, peer: () => End): End {
    let listener: ChannelListener | undefined;
    let paused = false;
    let ended: ChannelEnd | undefined;
    let closeReported = false;
    let bufferedBytes = 0;
    let wasFull = false;
    let pathFreeAt = 0;
    let message: Uint8Array[] = [];
    const arrived: Uint8Array[] = [];
    // Messages that this end sent and that have not arrived, in order; an entry may be a close.
    const wire: Array<{ readonly bytes: Uint8Array | undefined; readonly end?: ChannelEnd; arrived: boolean }> = [];

    function pump(): void {
      while (listener !== undefined && !paused) {
        const bytes = arrived.shift();
        if (bytes === undefined) break;
        listener.message(bytes);
        // True during the call only: a listener that kept them finds out.
        bytes.fill(0xdb);
      }
      if (ended !== undefined && listener !== undefined && arrived.length === 0 && !closeReported) {
        closeReported = true;
        listener.close(ended);
      }
    }

    function flushWire(): void {
      if (stalled[side]) return;
      while (wire[0]?.arrived === true) {
        const entry = wire.shift();
        if (entry?.bytes !== undefined) {
          bufferedBytes -= entry.bytes.length;
          for (const piece of options.reshape?.(entry.bytes, side) ?? [entry.bytes]) peer().deliver(piece);
        }
        if (entry?.end !== undefined) {
          const { end: how } = entry;
          peer().ended(how);
          self.ended(how);
        }
      }
      if (wasFull && self.bufferedBytes <= LOW_BYTES) {
        wasFull = false;
        listener?.drain();
      }
    }

    /** When the path has carried so many bytes more, from now. */
    function waitForPath(length: number): number {
      if (options.bytesPerMs === undefined) return 0;
      const now = deps.clock.monotonicNow();
      pathFreeAt = Math.max(now, pathFreeAt) + length / options.bytesPerMs;
      return pathFreeAt - now;
    }

    function transmit(bytes: Uint8Array | undefined, end?: ChannelEnd): void {
      const entry = { bytes, ...(end === undefined ? {} : { end }), arrived: false };
      wire.push(entry);
      const arrive = (): void => {
        entry.arrived = true;
        flushWire();
      };
      const delayMs = (options.delayMs?.() ?? 0) + waitForPath(bytes?.length ?? 0);
      if (delayMs > 0) deps.clock.setTimer(delayMs, arrive);
      else queueMicrotask(arrive);
    }

    const self: End = {
      get bufferedBytes() {
        return Math.max(0, bufferedBytes - (options.systemBufferBytes ?? 0));
      },
      listen(next) {
        listener = next;
        queueMicrotask(pump);
      },
      append(parts) {
        if (ended !== undefined) return;
        for (const part of parts) message.push(new Uint8Array(part));
        bufferedBytes += payloadBytes(parts);
      },
      flush() {
        if (ended !== undefined || message.length === 0) return;
        const bytes = Buffer.concat(message);
        message = [];
        if (self.bufferedBytes > LOW_BYTES) wasFull = true;
        transmit(bytes);
      },
      admit() {},
      pause() {
        paused = true;
      },
      resume() {
        paused = false;
        queueMicrotask(pump);
      },
      close(code, reason) {
        paused = false;
        self.flush();
        if (ended === undefined) transmit(undefined, { code, reason });
      },
      terminate() {
        wire.length = 0;
        if (!stalled[side]) peer().ended({ code: CLOSE_LOST, reason: "" });
        self.ended({ code: CLOSE_LOST, reason: "" });
      },
      deliver(bytes) {
        if (ended !== undefined) return;
        arrived.push(bytes);
        pump();
      },
      ended(end) {
        ended ??= end;
        pump();
      },
      retry: flushWire,
    };
    return self;
  }

  return {
    dialer,
    acceptor,
    cut: () => dialer.terminate(),
    stall(from) {
      stalled.dialer ||= from !== "acceptor";
      stalled.acceptor ||= from !== "dialer";
    },
    unstall() {
      stalled.dialer = false;
      stalled.acceptor = false;
      dialer.retry();
      acceptor.retry();
    },
  };
}
