export type { AcceptWebSocket } from "./accept.ts";
export { createWebSocketAcceptor } from "./accept.ts";
export { webSocketChannel } from "./channel.ts";
export type { DialWebSocketOptions } from "./dial.ts";
export { dialWebSocket } from "./dial.ts";
export { refuseUpgrade } from "./refusal.ts";
