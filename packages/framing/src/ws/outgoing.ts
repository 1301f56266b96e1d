import type { Duplex } from "node:stream";
import type { WebSocketDeps } from "./deps.ts";
import { applyMask } from "./mask.ts";
import { OPCODE, wireHeader } from "./wire.ts";

/**
 * How this side masks its bytes: an acceptor must not; a dialer must. Its key may be zero inside TLS, where no machine
 * on the way could be confused by the bytes.
 */
export type Masking = "none" | "zero" | "random";

/** Messages on their way into a socket. */
export interface Outgoing {
  /** Bytes that were given and have not left this process. */
  readonly bytes: number;
  /** Begins or goes on with a message: copies the parts. */
  append(parts: readonly Uint8Array[]): void;
  /** Ends the message, if one was begun, and sends it. */
  flush(): void;
  /** Sends a control frame after the messages that ended. */
  control(opcode: number, payload: Uint8Array): void;
  /** Ends the socket when everything has left. */
  end(): void;
}

/** Room for the longest header in front of a message whose length is not known yet. */
const HEADER_ROOM = 14;
const SMALL_BUFFER_BYTES = 4_096;
/** After so many small writes in a row a buffer that bulk has made large is let go. */
const SMALL_WRITES = 16;
const NO_BUFFER: Buffer = Buffer.alloc(0);
const NO_MASK: Uint8Array = new Uint8Array(4);

/**
 * One write at a time, in memory that is used again. Bytes that come meanwhile are gathered behind it and leave as one.
 * The busier the socket, the larger its writes.
 *
 * @param left is called whenever bytes have left.
 */
export function createOutgoing(
  socket: Duplex,
  masking: Masking,
  deps: Pick<WebSocketDeps, "randomBytes">,
  left: () => void,
): Outgoing {
  let filling: Buffer = NO_BUFFER;
  let used = 0;
  // Where the message that was begun stands, and where the last one that ended does.
  let begun: number | undefined;
  let ended = 0;
  let flying: Buffer | undefined;
  let flyingBytes = 0;
  let spare: Buffer | undefined;
  let smallWrites = 0;
  let ending = false;

  function reserve(bytes: number): void {
    if (used + bytes <= filling.length) return;
    const wanted = 2 ** Math.ceil(Math.log2(Math.max(SMALL_BUFFER_BYTES, used + bytes)));
    const larger = spare !== undefined && spare.length >= wanted ? spare : Buffer.allocUnsafeSlow(wanted);
    if (larger === spare) spare = undefined;
    filling.copy(larger, 0, 0, used);
    filling = larger;
  }

  function put(bytes: Uint8Array): void {
    reserve(bytes.length);
    filling.set(bytes, used);
    used += bytes.length;
  }

  function begin(): number {
    const start = used;
    reserve(HEADER_ROOM);
    used += HEADER_ROOM;
    return start;
  }

  /** Puts the header where the room for it is, close to the payload. */
  function finish(start: number, opcode: number): void {
    const payload = filling.subarray(start + HEADER_ROOM, used);
    const key = masking === "none" ? undefined : masking === "zero" ? NO_MASK : deps.randomBytes(4);
    if (masking === "random" && key !== undefined) applyMask(payload, key, 0);
    const header = wireHeader(opcode, payload.length, key);
    filling.set(header, start);
    filling.copyWithin(start + header.length, start + HEADER_ROOM, used);
    used = start + header.length + payload.length;
    ended = used;
  }

  function flush(): void {
    if (begun === undefined) return;
    finish(begun, OPCODE.binary);
    begun = undefined;
    send();
  }

  function send(): void {
    if (flying !== undefined || ended === 0) return;
    const rest = filling.subarray(ended, used);
    const leaving = filling.subarray(0, ended);
    flying = filling;
    flyingBytes = ended;
    filling = spare ?? NO_BUFFER;
    spare = undefined;
    used = 0;
    ended = 0;
    if (begun !== undefined) {
      begun = 0;
      put(rest);
    }
    socket.write(leaving, onWritten);
  }

  function onWritten(error?: Error | null): void {
    // A socket that broke may still look at what it was given.
    if (error !== undefined && error !== null) return;
    smallWrites = flyingBytes < SMALL_BUFFER_BYTES ? smallWrites + 1 : 0;
    const isOversized = smallWrites >= SMALL_WRITES && flying !== undefined && flying.length > SMALL_BUFFER_BYTES;
    spare = isOversized ? undefined : flying;
    flying = undefined;
    flyingBytes = 0;
    send();
    if (ending && used + flyingBytes === 0) socket.end();
    left();
  }

  return {
    get bytes() {
      return used + flyingBytes;
    },
    append(parts) {
      begun ??= begin();
      for (const part of parts) put(part);
    },
    flush,
    control(opcode, payload) {
      flush();
      const start = begin();
      put(payload);
      finish(start, opcode);
      send();
    },
    end() {
      ending = true;
      if (used + flyingBytes === 0) socket.end();
    },
  };
}
