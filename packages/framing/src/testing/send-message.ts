import type { MessageChannel } from "../channel.ts";

/** Sends one message. */
export function sendMessage(channel: MessageChannel, parts: readonly Uint8Array[]): void {
  channel.append(parts);
  channel.flush();
}
