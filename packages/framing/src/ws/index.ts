export type { AcceptWebSocket } from "./accept.ts";
export { acceptWebSocket, createWebSocketAcceptor } from "./accept.ts";
export type { DialWebSocketOptions } from "./dial.ts";
export { dialWebSocket } from "./dial.ts";
export { connectThroughProxy, type ProxyEnvironment, proxyAuthorization, proxyFor, refusedByProxy } from "./proxy.ts";
export { refuseUpgrade } from "./refusal.ts";
