import { MAX_MESSAGE_BYTES } from "@cluster-connect/protocol";

/** What every WebSocket of this product is made with, on both sides. */
export const WEB_SOCKET_OPTIONS: Readonly<
  Record<"perMessageDeflate" | "allowSynchronousEvents" | "skipUTF8Validation", boolean>
> &
  Readonly<Record<"maxPayload" | "maxFragments" | "maxBufferedChunks" | "closeTimeout", number>> = {
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE_BYTES,
  // A message is at most one large frame: caps far above what a path cuts it into, far below what hurts.
  maxFragments: 128,
  maxBufferedChunks: 8_192,
  allowSynchronousEvents: true,
  skipUTF8Validation: true,
  closeTimeout: 3_000,
};
