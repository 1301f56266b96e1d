/** WebSocket subprotocol; its suffix is the major version, and majors do not mix. */
export const SUBPROTOCOL = "clusterconnect.v1";

/** First byte of every frame of this major version. */
export const FRAME_VERSION = 1;

/** Minor version this build speaks, and the oldest it still understands. */
export const MINOR_VERSION = 0;
export const OLDEST_MINOR_VERSION = 0;

/** Minor versions one side understands, both ends included. */
export interface MinorRange {
  readonly minor: number;
  readonly oldestMinor: number;
}

/**
 * The minor version two sides speak: the smaller of their newest.
 *
 * @returns undefined where that is older than the oldest that either side still understands.
 */
export function negotiateMinor(own: MinorRange, peer: MinorRange): number | undefined {
  const minor = Math.min(own.minor, peer.minor);
  return minor >= own.oldestMinor && minor >= peer.oldestMinor ? minor : undefined;
}
