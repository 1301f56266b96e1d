/** Every number of the wire, with its unit in its name. A change of one is a change of docs/protocol.md. */

export const HEADER_BYTES = 12;
/** Largest payload of one frame. */
export const MAX_PAYLOAD_BYTES = 65_536;
/** Largest JSON payload: HELLO, READY, OPEN, ACCEPT, RESUME, RESUMED. */
export const MAX_JSON_BYTES = 16_384;
/** Largest text in REJECT, RESET and GOAWAY, in UTF-8 bytes. */
export const MAX_TEXT_BYTES = 1_024;
/** Largest WebSocket message: one full frame and room for small ones beside it. */
export const MAX_MESSAGE_BYTES: number = HEADER_BYTES + MAX_PAYLOAD_BYTES + 4_096;

/** Largest window to begin with; also the bytes that an opener may send before ACCEPT where its OPEN names no number. */
export const INITIAL_WINDOW_BYTES = 262_144;
/** Bytes that openers send before ACCEPT tells the taker's window: more than any ClientHello, little with many streams. */
export const UNASKED_BYTES = 16_384;
/** Smallest window a stream begins with, however many there are. */
export const MIN_WINDOW_BYTES = 4_096;
/** Sum of the windows that a session's streams begin with, as long as each gets more than the smallest; bytes. */
export const INITIAL_BUDGET_BYTES = 67_108_864;
/** Largest receive window of one stream. */
export const MAX_WINDOW_BYTES = 16_777_216;
/** Sum that the windows of one session may grow by, and bytes that may wait in it, unless configured otherwise. */
export const SESSION_BUDGET_BYTES = 134_217_728;

/** Streams open at once in one session, unless HELLO says otherwise. */
export const MAX_STREAMS = 16_384;
/** Highest stream id; a session that reaches it sends GOAWAY and is followed by another. */
export const MAX_STREAM_ID = 0x7fff_ffff;

/** How many DATA bytes arrive on a hop before they are acknowledged by HOPACK, until the peer asks otherwise. */
export const HOP_ACK_EVERY_BYTES = 131_072;

/** From an open channel to READY. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Ping interval while streams are open, and without. */
export const PING_BUSY_INTERVAL_MS = 5_000;
export const PING_IDLE_INTERVAL_MS = 15_000;
/** Unanswered pings that end a session. */
export const PING_MISSES = 2;
/** Killed processes that an agent's HELLO may name as those it follows. */
export const MAX_FOLLOWED = 8;
/** How long both ends keep a stream whose channel was lost. */
export const RESUME_GRACE_MS = 60_000;
/** Longest PROXY header between agent and auth proxy, its fixed part included: more than any OPEN can make it. */
export const MAX_PROXY_HEADER_BYTES = 4_096;
/** Bytes of a stream's secret key and of the relay's challenge. */
export const SECRET_BYTES = 32;
