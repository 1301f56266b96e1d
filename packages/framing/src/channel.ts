/** How a channel ended; the numbers are WebSocket close codes. */
export interface ChannelEnd {
  readonly code: number;
  readonly reason: string;
}

/** Events of a channel for its one user. None of these may throw. */
export interface ChannelListener {
  /**
   * The next bytes of the peer's messages, in order, in pieces of any size: where a message begins does not matter.
   * They are true during the call only: a listener that keeps them copies them.
   */
  message(bytes: Uint8Array): void;
  /** `bufferedBytes` fell to the low mark: there is room to send again. */
  drain(): void;
  /** Nothing comes and nothing is sent any more; called once. */
  close(end: ChannelEnd): void;
}

/** Ordered, reliable, binary messages between two processes, until one of them closes. */
export interface MessageChannel {
  /** Bytes given to {@link append} that have not left this process. */
  readonly bufferedBytes: number;
  /** Names the listener; messages that came before are delivered to it, in order. */
  listen(listener: ChannelListener): void;
  /** Begins or goes on with a message: the parts are copied before this returns. A closed channel drops them. */
  append(parts: readonly Uint8Array[]): void;
  /** Sends the message, if one was begun. */
  flush(): void;
  /** The peer has passed the handshake: its pings are answered from now on, and it may send as much as it likes. */
  admit(): void;
  /** Stops taking messages from the peer; one or a few that were already read may still come. */
  pause(): void;
  resume(): void;
  /** Sends what was given to {@link append}, then closes; `close` is called at the latest after a few seconds. */
  close(code: number, reason: string): void;
  /** Drops everything at once. */
  terminate(): void;
}

/** Close codes that this product sends or treats in its own way. */
export const CLOSE_NORMAL = 1000;
export const CLOSE_GOING_AWAY = 1001;
export const CLOSE_PROTOCOL = 1002;
export const CLOSE_NOT_BINARY = 1003;
export const CLOSE_LOST = 1006;
export const CLOSE_POLICY = 1008;
export const CLOSE_TOO_BIG = 1009;
