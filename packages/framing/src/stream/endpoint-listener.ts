import type { Accept, ConnectError } from "@cluster-connect/protocol";

/** Events of an endpoint for the user of its bytes. */
export interface EndpointListener {
  onAccepted(accept: Accept): void;
  /** There is something to take. */
  onReadable(): void;
  /** Bytes below this offset went out. */
  onSent(offset: number): void;
  /** The peer's consumer took more. */
  onTaken(): void;
  /** More may be written without a wait ({@link Endpoint.room}). */
  onRoom(): void;
  /** The peer's consumer took everything up to FIN. */
  onFinAcked(): void;
  /** The channel is lost, or a RESUME was refused; `false` when no keeper will resume again: the stream ends. */
  onSuspended(error: ConnectError): boolean;
  /** The stream goes on over another channel. */
  onResumed(): void;
  /** Nothing comes any more: after a reset with its error, else because both directions ended. */
  onEnded(error: ConnectError | undefined): void;
}
