import { once } from "node:events";
import type { TLSSocket } from "node:tls";
import { openAlpn } from "./http2-client.ts";
import type { RawTarget } from "./raw-client.ts";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
export const FRAME = { data: 0, headers: 1, rst: 3, settings: 4, ping: 6, goaway: 7, continuation: 9 } as const;
export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;

/** A frame as it is on the wire, written by the specification and not by our own code. */
export function frame(type: number, flags: number, streamId: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

/** Header lines as a block in which nothing is compressed, so that any line can be written. */
export function block(lines: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(lines.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** The lines of a usual request, and one more. */
export function requestLines(
  method: string,
  ...more: readonly (readonly [string, string])[]
): readonly (readonly [string, string])[] {
  return [[":method", method], [":scheme", "https"], [":authority", "localhost"], [":path", "/x"], ...more];
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  const length: number[] = [];
  let rest = bytes.length - 127;
  if (rest < 0) length.push(bytes.length);
  else {
    length.push(127);
    for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** A frame that came back: its stream, and the code of a reset or a GOAWAY. */
export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly code: number;
}

/** A connection of frames as they are. */
export interface FrameClient {
  readonly socket: TLSSocket;
  readonly seen: readonly SeenFrame[];
  write(...frames: readonly Buffer[]): void;
  /** Waits for a frame of a kind, or for the end of the connection. */
  until(type: number): Promise<SeenFrame | undefined>;
}

export async function openFrames(target: RawTarget): Promise<FrameClient> {
  const socket = await openAlpn(target, ["h2"]);
  const seen: SeenFrame[] = [];
  let rest = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 9) {
      const length = rest.readUIntBE(0, 3);
      if (rest.length < 9 + length) return;
      const [type = 0, flags = 0] = rest.subarray(3, 5);
      const streamId = rest.readUInt32BE(5);
      const code = type === FRAME.rst ? rest.readUInt32BE(9) : type === FRAME.goaway ? rest.readUInt32BE(13) : 0;
      seen.push({ type, flags, streamId, code });
      rest = rest.subarray(9 + length);
      socket.emit("frame");
    }
  });
  const ended = once(socket, "close").catch(() => []);
  socket.write(PREFACE);
  socket.write(frame(FRAME.settings, 0, 0));
  return {
    socket,
    seen,
    write: (...frames) => void socket.write(Buffer.concat(frames)),
    async until(type) {
      for (;;) {
        const found = seen.find((one) => one.type === type);
        if (found !== undefined || socket.closed) return found;
        await Promise.race([once(socket, "frame"), ended]);
      }
    },
  };
}
