/** The meaning of a connection's first bytes. */
export type FirstBytes =
  /** It may still become a ClientHello. */
  | { readonly kind: "incomplete" }
  /** Not TLS, or not as it should be. */
  | { readonly kind: "other" }
  /** A whole ClientHello; the name is absent when it has no SNI. */
  | { readonly kind: "hello"; readonly serverName: string | undefined };

const OTHER: FirstBytes = { kind: "other" };
const INCOMPLETE: FirstBytes = { kind: "incomplete" };

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME_EXTENSION = 0;
const HOST_NAME = 0;
const RECORD_HEADER_BYTES = 5;
const MAX_RECORD_BYTES = 16_384;
/** Largest ClientHello that is waited for; with post-quantum keys and many extensions they have some 2 KiB. */
export const MAX_HELLO_BYTES = 32_768;

/**
 * Reads the server name of a TLS ClientHello, which may be spread over records; nothing is believed to be there.
 *
 * @see RFC 8446 section 4.1.2, RFC 6066 section 3
 */
export function readFirstBytes(bytes: Uint8Array): FirstBytes {
  const handshake = joinRecords(bytes);
  if (handshake.kind !== "bytes") return handshake.kind === "other" ? OTHER : INCOMPLETE;
  const message = createCursor(handshake.bytes);
  const type = message.number(1);
  if (type !== undefined && type !== CLIENT_HELLO) return OTHER;
  const length = message.number(3);
  if (length !== undefined && length > MAX_HELLO_BYTES) return OTHER;
  const body = length === undefined ? undefined : message.bytes(length);
  if (body === undefined) return handshake.isWhole ? OTHER : INCOMPLETE;
  return readHello(createCursor(body));
}

type Joined =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array; readonly isWhole: boolean }
  | { readonly kind: "incomplete" | "other" };

/** Payload of the handshake records so far; `isWhole` when no more may follow: too long, or something else came. */
function joinRecords(bytes: Uint8Array): Joined {
  const parts: Uint8Array[] = [];
  let at = 0;
  let total = 0;
  let isWhole = false;
  while (at < bytes.length && !isWhole) {
    const major = bytes[at + 1];
    const [high, low] = [bytes[at + 3], bytes[at + 4]];
    const length = high === undefined || low === undefined ? undefined : high * 256 + low;
    const isHandshake = bytes[at] === HANDSHAKE && (major === undefined || major === 3);
    if (!isHandshake || length === 0 || (length ?? 0) > MAX_RECORD_BYTES) {
      if (parts.length === 0) return { kind: "other" };
      isWhole = true;
    } else if (length === undefined) {
      break;
    } else {
      const start = at + RECORD_HEADER_BYTES;
      parts.push(bytes.subarray(start, start + length));
      total += Math.min(length, bytes.length - start);
      at = start + length;
      isWhole = total > MAX_HELLO_BYTES;
    }
  }
  if (parts.length === 0) return { kind: "incomplete" };
  return { kind: "bytes", bytes: Buffer.concat(parts), isWhole };
}

function readHello(hello: Cursor): FirstBytes {
  const fixed = hello.bytes(2 + 32);
  const session = hello.vector(1);
  const ciphers = hello.vector(2);
  const compression = hello.vector(1);
  if (fixed === undefined || session === undefined || ciphers === undefined || compression === undefined) return OTHER;
  if (hello.atEnd()) return { kind: "hello", serverName: undefined };
  const extensions = hello.vector(2);
  if (extensions === undefined || !hello.atEnd()) return OTHER;
  const list = createCursor(extensions);
  while (!list.atEnd()) {
    const type = list.number(2);
    const content = list.vector(2);
    if (type === undefined || content === undefined) return OTHER;
    if (type === SERVER_NAME_EXTENSION) return readServerName(createCursor(content));
  }
  return { kind: "hello", serverName: undefined };
}

function readServerName(extension: Cursor): FirstBytes {
  const names = extension.vector(2);
  if (names === undefined || !extension.atEnd()) return OTHER;
  const list = createCursor(names);
  const type = list.number(1);
  const name = list.vector(2);
  if (type !== HOST_NAME || name === undefined || !list.atEnd()) return OTHER;
  const serverName = Buffer.from(name).toString("latin1");
  return /^[A-Za-z0-9._-]{1,255}$/.test(serverName) ? { kind: "hello", serverName: serverName.toLowerCase() } : OTHER;
}

interface Cursor {
  /** A big-endian number; undefined when there are not enough bytes, as with the others. */
  number(length: number): number | undefined;
  bytes(length: number): Uint8Array | undefined;
  /** Bytes after a length of so many bytes. */
  vector(lengthBytes: number): Uint8Array | undefined;
  atEnd(): boolean;
}

function createCursor(bytes: Uint8Array): Cursor {
  let at = 0;
  const take = (length: number): Uint8Array | undefined => {
    if (at + length > bytes.length) return undefined;
    at += length;
    return bytes.subarray(at - length, at);
  };
  const number = (length: number): number | undefined => take(length)?.reduce((value, byte) => value * 256 + byte, 0);
  return {
    number,
    bytes: take,
    vector(lengthBytes) {
      const length = number(lengthBytes);
      return length === undefined ? undefined : take(length);
    },
    atEnd: () => at === bytes.length,
  };
}
