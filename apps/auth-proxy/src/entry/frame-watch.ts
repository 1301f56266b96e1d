const FRAME_HEADER_BYTES = 9;
const PREFACE_BYTES = 24;
const HEADERS = 1;
const CONTINUATION = 9;
const END_HEADERS = 0x4;
const PADDED = 0x8;
const PRIORITY = 0x20;
/** More header lines are not counted: no head has as many. */
const MAX_FIELDS = 0xffff;

/** Reads the frames of a connection's client. */
export interface HeaderBlockReader {
  push(chunk: Uint8Array): void;
  /** The stream whose block of header lines has begun and is not complete yet. */
  readonly unfinished: () => number | undefined;
}

/** Lines of a complete block that goes to the parser next, those that the parser leaves out included. */
export type OnBlock = (streamId: number, fields: number) => void;

/**
 * Counts the lines of each block of headers. It decodes none of them: each line begins with a byte that tells its kind,
 * and its strings tell their length.
 *
 * @see RFC 9113, section 4.1, and RFC 7541, section 6
 */
export function createHeaderBlockReader(onBlock: OnBlock): HeaderBlockReader {
  let skip = PREFACE_BYTES;
  const header = new Uint8Array(FRAME_HEADER_BYTES);
  let headerBytes = 0;
  /** Of the frame that is being read. */
  let left = 0;
  let type = 0;
  let flags = 0;
  /** Bytes of the frame's payload before its block, and padding behind it. */
  let before = 0;
  let padding = 0;
  let readsPadding = false;
  let streamId = 0;
  let unfinished: number | undefined;
  let fields = createFieldCounter();

  function begin(): void {
    left = (header[0] ?? 0) * 65_536 + (header[1] ?? 0) * 256 + (header[2] ?? 0);
    type = header[3] ?? 0;
    flags = header[4] ?? 0;
    headerBytes = 0;
    before = 0;
    padding = 0;
    readsPadding = false;
    if (type === HEADERS) {
      streamId = new DataView(header.buffer).getUint32(5) & 0x7fffffff;
      fields = createFieldCounter();
      readsPadding = (flags & PADDED) !== 0;
      before = (flags & PRIORITY) === 0 ? 0 : 5;
      unfinished = streamId;
    }
    if (left === 0) end();
  }

  function end(): void {
    if (!isBlock() || (flags & END_HEADERS) === 0) return;
    unfinished = undefined;
    onBlock(streamId, fields.count());
  }

  const isBlock = (): boolean => type === HEADERS || type === CONTINUATION;

  function payload(byte: number): void {
    left -= 1;
    if (readsPadding) {
      padding = byte;
      readsPadding = false;
    } else if (before > 0) before -= 1;
    else if (left >= padding) fields.take(byte);
  }

  return {
    unfinished: () => unfinished,
    push(chunk) {
      let at = 0;
      while (at < chunk.length) {
        if (skip > 0) {
          const passed = Math.min(skip, chunk.length - at);
          skip -= passed;
          at += passed;
        } else if (left === 0) {
          header[headerBytes] = chunk[at] ?? 0;
          headerBytes += 1;
          at += 1;
          if (headerBytes === FRAME_HEADER_BYTES) begin();
        } else if (isBlock()) {
          payload(chunk[at] ?? 0);
          at += 1;
          if (left === 0) end();
        } else {
          const passed = Math.min(left, chunk.length - at);
          left -= passed;
          at += passed;
        }
      }
    },
  };
}

interface FieldCounter {
  take(byte: number): void;
  readonly count: () => number;
}

/** Meaning of the next byte of a block. */
type Expected = "line" | "index" | "length" | "lengthRest" | "text";

function createFieldCounter(): FieldCounter {
  let count = 0;
  let expected: Expected = "line";
  /** Strings that are left of this line. */
  let strings = 0;
  /** Of the string that is read, and what the next byte of its length counts. */
  let length = 0;
  let shift = 0;

  function line(byte: number): void {
    const isIndexed = byte >= 0x80;
    const isSizeUpdate = (byte & 0xe0) === 0x20;
    if (!isSizeUpdate && count < MAX_FIELDS) count += 1;
    const mask = isIndexed ? 0x7f : (byte & 0xc0) === 0x40 ? 0x3f : isSizeUpdate ? 0x1f : 0x0f;
    const index = byte & mask;
    strings = isIndexed || isSizeUpdate ? 0 : index === 0 ? 2 : 1;
    expected = index === mask ? "index" : afterIndex();
  }

  const afterIndex = (): Expected => (strings === 0 ? "line" : "length");

  function afterLength(): Expected {
    if (length > 0) return "text";
    strings -= 1;
    return afterIndex();
  }

  function take(byte: number): void {
    switch (expected) {
      case "line":
        line(byte);
        return;
      case "index":
        if (byte < 0x80) expected = afterIndex();
        return;
      case "length":
        length = byte & 0x7f;
        shift = 1;
        expected = length === 0x7f ? "lengthRest" : afterLength();
        return;
      case "lengthRest":
        length += (byte & 0x7f) * shift;
        shift *= 128;
        if (byte < 0x80) expected = afterLength();
        return;
      case "text":
        length -= 1;
        if (length === 0) expected = afterLength();
    }
  }

  return { take, count: () => count };
}
