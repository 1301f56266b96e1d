const HEADERS_END = Buffer.from("\r\n\r\n");

/**
 * The text of one direction of a connection. Of a WebSocket it is the payloads of the frames without their masks, else
 * the bytes as they are. A mask would hide any text from a search.
 */
export function payloadOf(chunks: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(chunks);
  const end = bytes.indexOf(HEADERS_END);
  const head = bytes.subarray(0, end === -1 ? bytes.length : end).toString("latin1");
  if (!/^upgrade: websocket\r?$/im.test(head)) return bytes;
  return Buffer.concat([bytes.subarray(0, end), ...framePayloads(bytes.subarray(end + HEADERS_END.length))]);
}

function* framePayloads(bytes: Buffer): Generator<Buffer, void, undefined> {
  let at = 0;
  while (at + 2 <= bytes.length) {
    const second = bytes.readUInt8(at + 1);
    at += 2;
    let length = second & 0x7f;
    if (length === 126) {
      length = bytes.readUInt16BE(at);
      at += 2;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at));
      at += 8;
    }
    const masked = (second & 0x80) !== 0;
    const mask = bytes.subarray(at, at + 4);
    if (masked) at += 4;
    const payload = Buffer.from(bytes.subarray(at, at + length)); // the last frame may be cut off
    for (let index = 0; masked && index < payload.length; index++) {
      payload.writeUInt8(payload.readUInt8(index) ^ mask.readUInt8(index % 4), index);
    }
    yield payload;
    at += length;
  }
}
