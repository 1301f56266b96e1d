/** Longest request or response head, request line included; tokens with 200 groups have 12 to 17 KB. */
export const MAX_HEADER_BYTES = 98_304;
/** Most header lines of one request. */
export const MAX_HEADER_LINES = 256;
/** Longest request target. */
export const MAX_TARGET_BYTES = 16_384;

/** Time from the first byte of a request, or from the handshake, to the end of its head. */
export const HEADERS_TIMEOUT_MS = 15_000;
/** How often the server looks for heads that are too slow. */
export const HEADERS_CHECK_MS = 1_000;
/** How long a stream may wait for its next request; Go clients give up an idle one after 90 s. */
export const KEEP_ALIVE_MS = 120_000;
/** Longest pause in a request body while we wait for more of it. */
export const BODY_IDLE_MS = 60_000;
/** Longest body that is held until the apiserver has answered, so that the request can be repeated. */
export const REPEATABLE_BODY_BYTES = 262_144;
/** Longest time a client may leave a response unread while there is more of it. */
export const UNREAD_MS = 300_000;
/** Time for the agent's PROXY header and the TLS handshake together. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Longest PROXY header that is read, its fixed part included. */
export const MAX_PROXY_HEADER_BYTES = 4_096;
/** Time for all checks of one request, issuer and apiserver included. */
export const ADMISSION_TIMEOUT_MS = 20_000;
/** Time for the apiserver to answer an upgrade; it dials the kubelet in between. */
export const UPGRADE_TIMEOUT_MS = 60_000;
/** Time the other direction of an upgraded stream may go on after one has ended. */
export const HALF_OPEN_MS = 30_000;
/** Time to send why an answer ends early before it is broken off. */
export const END_FLUSH_MS = 2_000;
/** For the last words when the process stops; less than what a step of the shutdown has after its time. */
export const FAREWELL_MS = 800;
/** Time to send the last answer on a stream that is closed after it. */
export const CLOSE_TIMEOUT_MS = 5_000;
/** Time to dial the apiserver, TLS included. */
export const UPSTREAM_DIAL_MS = 10_000;
/** How long an unused stream to the apiserver is kept; the apiserver itself drops it after 90 s. */
export const UPSTREAM_IDLE_MS = 45_000;
/** Longest answer of a review or a probe that is read. */
export const MAX_REVIEW_BYTES = 1_048_576;
/** Time for one review or probe. */
export const REVIEW_TIMEOUT_MS = 10_000;

/** Time between two looks at what is under way: expiry, idle bodies, unread responses. */
export const SWEEP_MS = 1_000;
/** How much longer than its token an ordinary request may go on; the apiserver ends those after 60 s. */
export const ORDINARY_GRACE_MS = 60_000;
/** Time between two readings of the service account's token and CA. */
export const CREDENTIAL_RELOAD_MS = 60_000;
/** Shortest time between two readings of a token that the apiserver refused. */
export const CREDENTIAL_RETRY_MS = 1_000;

/** How long a positive TokenReview is believed, and how many are. */
export const TOKEN_REVIEW_KEPT_MS = 10_000;
export const TOKEN_REVIEW_ENTRIES = 1_024;
/** Most items that one `--as` may name; each is a review. */
export const MAX_ACTING_ITEMS = 64;

/** Time between two attempts to reach the apiserver at start. */
export const START_RETRY_MS = 1_000;

/** How much may be under way at once unless the settings say otherwise. */
export const DEFAULT_LIMITS = {
  requests: 1_000,
  requestsPerCaller: 200,
  upgrades: 1_000,
  upgradesPerCaller: 100,
  streams: 4_000,
  handshakes: 200,
} as const;
/** What a client that met a limit is told to wait. */
export const RETRY_AFTER_LIMIT_MS = 1_000;
