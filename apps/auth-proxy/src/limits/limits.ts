/** Longest request or response head, request line included: the apiserver takes as much. */
export const MAX_HEADER_BYTES = 1_052_672;
/** Longest head that needs no place among the large ones; tokens with 200 groups have 12 to 17 KB. */
export const ORDINARY_HEAD_BYTES = 98_304;
/** Most requests at once whose head is longer, and most of them for one caller of the relay. */
export const LARGE_HEADS = 64;
export const LARGE_HEADS_PER_CALLER = 16;
/** Most header lines of one request. */
export const MAX_HEADER_LINES = 256;
/** Most requests on one stream that are not answered yet. */
export const MAX_UNANSWERED = 8;
/** Most streams of one HTTP/2 connection at once; a client opens another connection for more. */
export const HTTP2_STREAMS = 250;
/**
 * Longest head over HTTP/2, as that protocol counts it. Clients are told, and refuse a longer one themselves. Node's
 * parser ends the whole connection for a single line that is longer.
 */
export const HTTP2_HEAD_BYTES = 65_536;
/** Most header lines that are read over HTTP/2, so that a few too many get an answer. */
export const HTTP2_HEADER_LINES = 512;
/** Streams of a connection that its client may reset at once, and for each second. The connection ends beyond that. */
export const HTTP2_RESETS = 1_000;
export const HTTP2_RESETS_PER_SECOND = 33;
/** Bytes that a caller may send on one stream before they are passed on; the apiserver allows as many. */
export const HTTP2_WINDOW_BYTES = 262_144;
/** The same for all streams of a connection together; what is not passed on counts on its stream alone. */
export const HTTP2_CONNECTION_BYTES = 4_194_304;
/** Most memory for one HTTP/2 connection, in megabytes: heads, and bytes that wait to be sent. */
export const HTTP2_MEMORY_MEGABYTES = 64;
/** Most requests that are parsed and dropped behind one that was refused, before the stream is broken off. */
export const MAX_DROPPED = 1_024;

/** Time from the first byte of a request, or from the handshake, to the end of its head. */
export const HEADERS_TIMEOUT_MS = 15_000;
/** How often the server looks for heads that are too slow. */
export const HEADERS_CHECK_MS = 1_000;
/** How long a stream may wait for its next request; Go clients give up an idle one after 90 s. */
export const KEEP_ALIVE_MS = 120_000;
/** Longest pause in a request body while we wait for more of it. */
export const BODY_IDLE_MS = 60_000;
/** Longest pause of a watch, a log or a proxied stream, in either direction; their memory is bounded all the same. */
export const LONG_IDLE_MS = 14_400_000;
/** Longest body that is held until the apiserver has answered, so that the request can be repeated. */
export const REPEATABLE_BODY_BYTES = 262_144;
/** Longest time a client may leave a response unread while there is more of it. */
export const UNREAD_MS = 300_000;
/** Time for the agent's PROXY header and the TLS handshake together. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How long a connection waits for others to finish their handshake before it begins its own. */
export const HANDSHAKE_WAIT_MS = 30_000;
/** Connections that the system holds until they are taken; it may be set to fewer. */
export const LISTEN_BACKLOG = 4_096;
/** Connections above the limit that are let in to be told so; the ones above these are closed without a word. */
export const TOLD_STREAMS = 256;
/** Time for all checks of one request, issuer and apiserver included. */
export const ADMISSION_TIMEOUT_MS = 20_000;
/** Time for the apiserver to answer an upgrade; it dials the kubelet in between. */
export const UPGRADE_TIMEOUT_MS = 60_000;
/** Time the other direction of an upgraded stream may go on after one has ended. */
export const HALF_OPEN_MS = 30_000;
/** Time to send why an answer ends early before it is broken off. */
export const END_FLUSH_MS = 2_000;
/** Time for the last words when the process stops; less than a step of the shutdown has after its time. */
export const FINAL_MESSAGE_MS = 800;
/** Time to send the last answer on a stream that is closed after it. */
export const CLOSE_TIMEOUT_MS = 5_000;
/**
 * How long a caller's bytes are taken and dropped after a last answer: at most, and after the last byte. Without it the
 * answer would be lost.
 */
export const LINGER_MS = 30_000;
export const LINGER_QUIET_MS = 5_000;
export const LINGER_BYTES = 67_108_864;
export const LINGER_CHECK_MS = 500;
/** How long a request whose stream is gone keeps its place. Others get it then, even if the work goes on. */
export const GONE_MS = 1_000;
/** Time to dial the apiserver, TLS included. */
export const UPSTREAM_DIAL_MS = 10_000;
/** How long an unused stream to the apiserver is kept; the apiserver itself drops it after 90 s. */
export const UPSTREAM_IDLE_MS = 45_000;
/** How long the apiserver is not asked for HTTP/2 again after it chose HTTP/1.1. */
export const UPSTREAM_HTTP1_MS = 60_000;
/** Connections over HTTP/2 that are kept idle at once. */
export const UPSTREAM_IDLE_SESSIONS = 64;
/** Bytes that the apiserver may send on one stream before they are passed on. */
export const UPSTREAM_WINDOW_BYTES = 262_144;
/** Longest answer of a review or a probe that is read. */
export const MAX_REVIEW_BYTES = 1_048_576;
/** Time for one review or probe. */
export const REVIEW_TIMEOUT_MS = 10_000;

/** Time between two looks at open requests: expiry, idle bodies, unread responses. */
export const SWEEP_MS = 1_000;
/** How much longer than its token an ordinary request may go on; the apiserver ends those after 60 s. */
export const ORDINARY_GRACE_MS = 60_000;
/** Time between two readings of the service account's token and CA. */
export const CREDENTIAL_RELOAD_MS = 60_000;
/** Shortest time between two readings of a token that the apiserver refused. */
export const CREDENTIAL_RETRY_MS = 1_000;

/** Share of the memory that the process may have from which on no more watches, logs and proxied streams begin. */
export const LONG_MEMORY_SHARE = 0.8;
/** So many of them are let in however small the memory is. */
export const LONG_WITHOUT_MEMORY = 500;

/** Most requests at once whose token is not known yet, and most of them for one caller of the relay. */
export const UNKNOWN = 800;
export const UNKNOWN_PER_CALLER = 400;
/** Most TokenReviews at once, and most of them for one caller of the relay. */
export const TOKEN_REVIEWS = 20;
export const TOKEN_REVIEWS_PER_CALLER = 8;
/** Most tokens that wait for a review, and most of them for one caller of the relay. */
export const TOKEN_REVIEWS_WAITING = 160;
export const TOKEN_REVIEWS_WAITING_PER_CALLER = 32;
/** How long a token that TokenReview refused is refused without asking again. */
export const TOKEN_REFUSAL_KEPT_MS = 5_000;
/** How long a positive TokenReview is believed, and how many are. */
export const TOKEN_REVIEW_KEPT_MS = 10_000;
export const TOKEN_REVIEW_ENTRIES = 1_024;
/** Most items that one `--as` may name; each is a review. */
export const MAX_ACTING_ITEMS = 64;

/** Time between two questions for the cluster's UID: after an answer, and after none. */
export const CLUSTER_UID_RELOAD_MS = 600_000;
export const CLUSTER_UID_RETRY_MS = 5_000;

/** Time between two attempts to reach the apiserver at start. */
export const START_RETRY_MS = 1_000;

/** How much may be under way at once unless the settings say otherwise. */
export const DEFAULT_LIMITS = {
  requests: 1_000,
  requestsPerCaller: 200,
  longRequests: 10_000,
  longRequestsPerCaller: 5_000,
  upgrades: 1_000,
  upgradesPerCaller: 100,
  streams: 12_000,
  handshakes: 200,
} as const;
/** Wait told to a client that met a limit. */
export const RETRY_AFTER_LIMIT_MS = 1_000;
