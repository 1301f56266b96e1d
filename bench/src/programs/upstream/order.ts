/** The first bytes of a connection: what the far end shall do with it. */
export type Order =
  /** Send back what comes. */
  | { readonly kind: "echo" }
  /** Take so many bytes and say so with one byte. */
  | { readonly kind: "take"; readonly bytes: number }
  /** Send so many bytes. */
  | { readonly kind: "give"; readonly bytes: number };

export const ORDER_BYTES = 9;

const KINDS: readonly Order["kind"][] = ["echo", "take", "give"];

export function encodeOrder(order: Order): Buffer {
  const bytes = Buffer.alloc(ORDER_BYTES);
  bytes.writeUInt8(KINDS.indexOf(order.kind), 0);
  bytes.writeBigUInt64BE(BigInt(order.kind === "echo" ? 0 : order.bytes), 1);
  return bytes;
}

/** @throws Error for a first byte that is no order. */
export function decodeOrder(bytes: Buffer): Order {
  const kind = KINDS[bytes.readUInt8(0)];
  if (kind === undefined) throw new Error("the connection does not begin with an order");
  return kind === "echo" ? { kind } : { kind, bytes: Number(bytes.readBigUInt64BE(1)) };
}
