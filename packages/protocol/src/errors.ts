/** How a code is shown at each edge of the product. */
export interface ErrorSpec {
  /** HTTP status where the code reaches an HTTP client. */
  readonly http: number;
  /** Exit code of the command line tool; every code has its own, see docs/errors.md. */
  readonly exit: number;
  /** Whether the same call may work a little later without anybody changing anything. */
  readonly retry: boolean;
  /** Number in REJECT, RESET and GOAWAY frames; absent where the code never travels in a frame. */
  readonly wire?: number;
  /** One sentence for a person: what to type or change next. */
  readonly hint: string;
}

/** A stable code; adding one means a row in {@link ERRORS} and one in docs/errors.md. */
export type ErrorCode =
  | "CC_PROTOCOL"
  | "CC_INTERNAL"
  | "CC_CANCELLED"
  | "CC_STREAM_STATE"
  | "CC_FLOW_CONTROL"
  | "CC_FRAME_INVALID"
  | "CC_VERSION_UNSUPPORTED"
  | "CC_STREAM_RESET"
  | "CC_KEEPALIVE_TIMEOUT"
  | "CC_DRAINING"
  | "CC_LIMIT_REACHED"
  | "CC_SESSION_CLOSED"
  | "CC_PEER_LOOP"
  | "CC_CHANNEL_LOST"
  | "CC_RESUME_UNKNOWN"
  | "CC_RESUME_GAP"
  | "CC_RESUME_EXPIRED"
  | "CC_STREAM_FINISHED"
  | "CC_SUPERSEDED"
  | "CC_RESUME_FULL"
  | "CC_AGENT_REPLACED"
  | "CC_NOT_LOGGED_IN"
  | "CC_TOKEN_MISSING"
  | "CC_TOKEN_EXPIRED"
  | "CC_TOKEN_INVALID"
  | "CC_TOKEN_AUDIENCE"
  | "CC_TOKEN_ISSUER"
  | "CC_IDENTITY_REFUSED"
  | "CC_LOGIN_FAILED"
  | "CC_ISSUER_UNREACHABLE"
  | "CC_REQUEST_REFUSED"
  | "CC_AGENT_OFFLINE"
  | "CC_CLUSTER_UNKNOWN"
  | "CC_UPSTREAM_UNREACHABLE"
  | "CC_APISERVER_UNREACHABLE"
  | "CC_RELAY_UNREACHABLE"
  | "CC_RELAY_REFUSED"
  | "CC_TLS_UNTRUSTED"
  | "CC_SESSION_ENDED"
  | "CC_GRANT_MISSING"
  | "CC_ADMIN_REQUIRED"
  | "CC_CLUSTER_CA_CHANGED"
  | "CC_CLUSTER_UNTRUSTED"
  | "CC_AUDIENCE_REFUSED"
  | "CC_FLEET_KEY_INVALID"
  | "CC_REVOCATIONS_REFUSED"
  | "CC_ENROLLMENT_CODE_INVALID"
  | "CC_AGENT_KEY_REFUSED"
  | "CC_CHALLENGE_FAILED"
  | "CC_CLUSTER_DUPLICATE"
  | "CC_PEER_REFUSED"
  | "CC_IMPERSONATION_DENIED"
  | "CC_PRIVILEGE_TOO_WIDE"
  | "CC_PERMISSION_MISSING"
  | "CC_INSTALL_FAILED"
  | "CC_USAGE"
  | "CC_CONFIG_INVALID"
  | "CC_FILE_MISSING"
  | "CC_FILE_UNREADABLE"
  | "CC_KUBECONFIG_INVALID"
  | "CC_KUBECONFIG_LOCKED"
  | "CC_PORT_IN_USE"
  | "CC_COMMAND_NOT_FOUND"
  | "CC_CLUSTER_ID_INVALID"
  | "CC_ID_INVALID"
  | "CC_STORE_FAILED"
  | "CC_STORE_NEWER"
  | "CC_AUDIT_FULL"
  | "CC_AUDIT_BROKEN"
  | "CC_TIMEOUT"
  | "CC_KEY_STORE_UNAVAILABLE"
  | "CC_KUBERNETES_UNAVAILABLE";

/**
 * Every error the product reports, by its stable code.
 *
 * Exit codes 1 and 2 follow the habit of shells (failure, usage); wire numbers never change their meaning.
 *
 * @see docs/errors.md, which a test compares with this table.
 */
export const ERRORS: Readonly<Record<ErrorCode, ErrorSpec>> = {
  // The wire
  CC_PROTOCOL: {
    wire: 1,
    http: 502,
    exit: 10,
    retry: false,
    hint: "Upgrade both sides to neighbouring versions; if it stays, report it with the correlation id.",
  },
  CC_INTERNAL: {
    wire: 2,
    http: 500,
    exit: 1,
    retry: true,
    hint: "Repeat the command with -v and report what it prints.",
  },
  CC_CANCELLED: { wire: 3, http: 499, exit: 130, retry: false, hint: "The caller gave up; nothing needs to be done." },
  CC_STREAM_STATE: {
    wire: 4,
    http: 502,
    exit: 11,
    retry: false,
    hint: "Upgrade both sides; if it stays, report it with the correlation id.",
  },
  CC_FLOW_CONTROL: {
    wire: 5,
    http: 502,
    exit: 12,
    retry: false,
    hint: "Upgrade both sides; if it stays, report it with the correlation id.",
  },
  CC_FRAME_INVALID: {
    wire: 6,
    http: 502,
    exit: 13,
    retry: false,
    hint: "Look for a proxy that changes WebSocket messages between the two sides, then upgrade both.",
  },
  CC_VERSION_UNSUPPORTED: {
    wire: 7,
    http: 426,
    exit: 14,
    retry: false,
    hint: "Upgrade the older side; neighbouring minor versions work together.",
  },
  CC_STREAM_RESET: {
    wire: 8,
    http: 502,
    exit: 15,
    retry: true,
    hint: "Repeat the command; the other end broke the stream off.",
  },
  CC_KEEPALIVE_TIMEOUT: {
    wire: 9,
    http: 504,
    exit: 16,
    retry: true,
    hint: "Check the network; the other side did not answer two pings.",
  },
  CC_DRAINING: {
    wire: 10,
    http: 503,
    exit: 17,
    retry: true,
    hint: "The server is restarting; the next attempt goes to another one.",
  },
  CC_LIMIT_REACHED: {
    wire: 11,
    http: 429,
    exit: 18,
    retry: true,
    hint: "Close streams you no longer need, or wait and repeat the command.",
  },
  CC_SESSION_CLOSED: {
    wire: 12,
    http: 502,
    exit: 19,
    retry: true,
    hint: "Repeat the command; the session it ran on is closed.",
  },
  CC_PEER_LOOP: {
    wire: 13,
    http: 508,
    exit: 20,
    retry: true,
    hint: "Check that every relay has its own id and address; a stream is forwarded once at the most.",
  },

  // Resume
  CC_CHANNEL_LOST: {
    wire: 20,
    http: 502,
    exit: 21,
    retry: true,
    hint: "The network between two hops was lost; resumable streams go on by themselves.",
  },
  CC_RESUME_UNKNOWN: {
    wire: 21,
    http: 410,
    exit: 22,
    retry: false,
    hint: "Repeat the command; the agent that held the stream was restarted.",
  },
  CC_RESUME_GAP: {
    wire: 22,
    http: 410,
    exit: 23,
    retry: false,
    hint: "Repeat the command; bytes that the stream needs are no longer held.",
  },
  CC_RESUME_EXPIRED: {
    wire: 23,
    http: 410,
    exit: 24,
    retry: false,
    hint: "Repeat the command; the stream was without a network for longer than the grace time.",
  },
  CC_STREAM_FINISHED: {
    wire: 24,
    http: 410,
    exit: 25,
    retry: false,
    hint: "Nothing needs to be done; every byte had been delivered.",
  },
  CC_SUPERSEDED: {
    wire: 25,
    http: 409,
    exit: 26,
    retry: false,
    hint: "Nothing needs to be done; the stream goes on over a newer channel.",
  },

  CC_RESUME_FULL: {
    wire: 26,
    http: 503,
    exit: 27,
    retry: false,
    hint: "Repeat the command; the agent could not hold the stream while it had no channel.",
  },

  CC_AGENT_REPLACED: {
    wire: 27,
    http: 503,
    exit: 28,
    retry: false,
    hint: "Repeat the command; the agent that held the stream was killed, and another process took its place.",
  },

  // The caller's identity
  CC_NOT_LOGGED_IN: {
    http: 401,
    exit: 30,
    retry: false,
    hint: "Run `cluster-connect login`, then repeat the command.",
  },
  CC_TOKEN_MISSING: {
    wire: 31,
    http: 401,
    exit: 31,
    retry: false,
    hint: "Run `cluster-connect login`, then repeat the command.",
  },
  CC_TOKEN_EXPIRED: {
    wire: 32,
    http: 401,
    exit: 32,
    retry: false,
    hint: "Run `cluster-connect login`, then repeat the command.",
  },
  CC_TOKEN_INVALID: {
    wire: 33,
    http: 401,
    exit: 33,
    retry: false,
    hint: "Run `cluster-connect login` again; the token did not pass its checks.",
  },
  CC_TOKEN_AUDIENCE: {
    wire: 34,
    http: 401,
    exit: 34,
    retry: false,
    hint: "Sign in for the right audience: the relay and the cluster take different tokens.",
  },
  CC_TOKEN_ISSUER: {
    wire: 35,
    http: 401,
    exit: 35,
    retry: false,
    hint: "Sign in at an issuer that this server trusts, or have the issuer added to its configuration.",
  },
  CC_IDENTITY_REFUSED: {
    wire: 36,
    http: 403,
    exit: 36,
    retry: false,
    hint: "Ask the cluster's administrator how this issuer's names are mapped.",
  },
  CC_LOGIN_FAILED: {
    http: 401,
    exit: 37,
    retry: true,
    hint: "Run `cluster-connect login` again, or `cluster-connect login --device-code` without a browser.",
  },
  CC_ISSUER_UNREACHABLE: {
    wire: 38,
    http: 503,
    exit: 38,
    retry: true,
    hint: "Check that the issuer's address can be reached and its certificate is trusted (--ca-file).",
  },
  CC_REQUEST_REFUSED: {
    http: 400,
    exit: 39,
    retry: false,
    hint: "Send the request with a standard Kubernetes client; it was refused rather than repaired.",
  },

  // Relay and cluster
  CC_AGENT_OFFLINE: {
    wire: 40,
    http: 503,
    exit: 3,
    retry: true,
    hint: "Run `cluster-connect clusters` to see when the agent was last seen.",
  },
  CC_CLUSTER_UNKNOWN: {
    wire: 41,
    http: 404,
    exit: 4,
    retry: false,
    hint: "Run `cluster-connect clusters` to see the clusters you may reach.",
  },
  CC_UPSTREAM_UNREACHABLE: {
    wire: 42,
    http: 503,
    exit: 5,
    retry: true,
    hint: "The agent is there but its auth proxy is not: look at the auth-proxy container's log.",
  },
  CC_APISERVER_UNREACHABLE: {
    wire: 43,
    http: 503,
    exit: 6,
    retry: true,
    hint: "The auth proxy is there but the kube-apiserver does not answer it: check the cluster.",
  },
  CC_RELAY_UNREACHABLE: {
    http: 503,
    exit: 7,
    retry: true,
    hint: "Check the relay's address (--relay), the network and the proxy settings, then repeat the command.",
  },
  CC_RELAY_REFUSED: {
    http: 502,
    exit: 8,
    retry: false,
    hint: "Check that the address is a cluster-connect relay and that no proxy answers in its place.",
  },
  CC_TLS_UNTRUSTED: {
    http: 502,
    exit: 9,
    retry: false,
    hint: "Give the authority that signed the server's certificate with --ca-file.",
  },
  CC_SESSION_ENDED: {
    wire: 44,
    http: 403,
    exit: 40,
    retry: false,
    hint: "An administrator ended the session; ask them before you connect again.",
  },
  CC_GRANT_MISSING: {
    wire: 45,
    http: 403,
    exit: 41,
    retry: false,
    hint: "Ask the relay's administrator for a grant on this cluster; one for another upstream than its apiserver names that in `upstreams`.",
  },
  CC_ADMIN_REQUIRED: {
    http: 403,
    exit: 44,
    retry: false,
    hint: "Ask whoever runs the relay to name you in its `admins` setting.",
  },
  CC_CLUSTER_CA_CHANGED: {
    http: 502,
    exit: 42,
    retry: false,
    hint: "Compare the fingerprint with the cluster's administrator, then run `cluster-connect clusters trust`.",
  },
  CC_AUDIENCE_REFUSED: {
    http: 403,
    exit: 43,
    retry: false,
    hint: "Ask the relay's administrator which audience it has, then name it with --relay-audience.",
  },
  CC_CLUSTER_UNTRUSTED: {
    http: 403,
    exit: 45,
    retry: false,
    hint: "Ask the cluster's administrator for its fingerprint, then give --cluster-fingerprint NAME=SHA256.",
  },
  CC_FLEET_KEY_INVALID: {
    http: 400,
    exit: 46,
    retry: false,
    hint: "Give the line that `cluster-connect fleet-key create` printed.",
  },
  CC_REVOCATIONS_REFUSED: {
    http: 403,
    exit: 47,
    retry: false,
    hint: "Get the newest list from whoever holds the fleet key.",
  },

  // Enrollment and the agent's own credential
  CC_ENROLLMENT_CODE_INVALID: {
    http: 403,
    exit: 50,
    retry: false,
    hint: "Make a new code with `cluster-connect-relay enroll`; a code works once and expires.",
  },
  CC_AGENT_KEY_REFUSED: {
    wire: 51,
    http: 403,
    exit: 51,
    retry: false,
    hint: "Enroll the agent again with a new code; the relay does not know this key or it was revoked.",
  },
  CC_CHALLENGE_FAILED: {
    wire: 52,
    http: 403,
    exit: 52,
    retry: false,
    hint: "Check that the agent dials the relay by its public name; the signed challenge did not match.",
  },
  CC_CLUSTER_DUPLICATE: {
    wire: 55,
    http: 409,
    exit: 57,
    retry: false,
    hint: "Give this cluster a name and an enrollment code of its own; if it takes the other's place, accept it with `cluster-connect admin clusters accept`.",
  },
  CC_PEER_REFUSED: {
    wire: 53,
    http: 403,
    exit: 72,
    retry: false,
    hint: "Check that each relay's certificate names the host of its `peers.address` and that all trust the same authority.",
  },
  CC_IMPERSONATION_DENIED: {
    http: 403,
    exit: 53,
    retry: false,
    hint: "Apply the impersonation role that the auth proxy printed at start.",
  },
  CC_PRIVILEGE_TOO_WIDE: {
    http: 403,
    exit: 54,
    retry: false,
    hint: "Bind the auth proxy's account to the printed role only; it must be able to impersonate and nothing else.",
  },
  CC_PERMISSION_MISSING: {
    http: 403,
    exit: 55,
    retry: false,
    hint: "Use an account that may do this in the cluster, or ask its administrator for the permission.",
  },
  CC_INSTALL_FAILED: {
    http: 502,
    exit: 56,
    retry: false,
    hint: "Correct what is named, then repeat the command: it goes on where it ended.",
  },

  // Typed input, files, the machine
  CC_USAGE: { http: 400, exit: 2, retry: false, hint: "Run the command with --help." },
  CC_CONFIG_INVALID: {
    http: 500,
    exit: 60,
    retry: false,
    hint: "Correct the named settings; every problem is listed at once.",
  },
  CC_FILE_MISSING: { http: 500, exit: 61, retry: false, hint: "Check the path, then repeat the command." },
  CC_FILE_UNREADABLE: {
    http: 500,
    exit: 62,
    retry: false,
    hint: "Check the file's permissions and content, then repeat the command.",
  },
  CC_KUBECONFIG_INVALID: {
    http: 500,
    exit: 63,
    retry: false,
    hint: "Correct the file, or name another one with -f; it was left as it was.",
  },
  CC_KUBECONFIG_LOCKED: {
    http: 500,
    exit: 64,
    retry: true,
    hint: "Wait for the other kubectl, or remove the named lock file if no process holds it.",
  },
  CC_PORT_IN_USE: {
    http: 500,
    exit: 65,
    retry: false,
    hint: "Choose another port with --port, or --port 0 for any free one.",
  },
  CC_COMMAND_NOT_FOUND: { http: 500, exit: 127, retry: false, hint: "Check the command's name and PATH." },
  CC_CLUSTER_ID_INVALID: {
    http: 400,
    exit: 66,
    retry: false,
    hint: "Use 1 to 63 characters of a-z, 0-9 and -, beginning and ending with a letter or digit.",
  },
  CC_ID_INVALID: { http: 400, exit: 67, retry: false, hint: "Use the id as it was printed." },
  CC_STORE_FAILED: { http: 503, exit: 68, retry: true, hint: "Check the data directory's free space and permissions." },
  CC_STORE_NEWER: {
    http: 500,
    exit: 69,
    retry: false,
    hint: "Start a version at least as new as the one that wrote the data directory.",
  },
  CC_AUDIT_FULL: {
    wire: 54,
    http: 503,
    exit: 78,
    retry: true,
    hint: "Ask whoever runs the relay to look at its store and at where its audit goes; nothing new is taken meanwhile.",
  },
  CC_AUDIT_BROKEN: {
    http: 500,
    exit: 79,
    retry: false,
    hint: "Keep the store as it is and compare it with the file or endpoint that the audit went to.",
  },
  CC_TIMEOUT: {
    wire: 70,
    http: 504,
    exit: 70,
    retry: true,
    hint: "Repeat the command; the named hop did not answer in time.",
  },
  CC_KEY_STORE_UNAVAILABLE: {
    http: 503,
    exit: 75,
    retry: true,
    hint: "Unlock the key store and repeat, or log in again with CLUSTER_CONNECT_TOKEN_STORE=file.",
  },
  CC_KUBERNETES_UNAVAILABLE: {
    http: 503,
    exit: 71,
    retry: true,
    hint: "See the named log for why the local Kubernetes did not start.",
  },
};

/** Extra facts an error carries for the code that shows it. */
export interface ConnectErrorOptions extends ErrorOptions {
  /** Milliseconds after which a retry makes sense, from the peer's own word. */
  readonly retryAfterMs?: number;
  /** Replaces the table's hint where the place knows better what to type next. */
  readonly hint?: string;
}

/**
 * The one error class of the product.
 *
 * The message names what was wrong in one line and never holds a token, a header value or payload.
 */
export class ConnectError extends Error {
  override readonly name = "ConnectError";
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;
  readonly hint: string;
  /** Finds the stream in every hop's log; noted by the stream's opener. */
  correlationId: string | undefined;

  constructor(code: ErrorCode, message: string, options: ConnectErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.hint = options.hint ?? ERRORS[code].hint;
  }
}

/** Whether a string is a code of {@link ERRORS}. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(ERRORS, value);
}

/** The error itself when it is ours, else `CC_INTERNAL` with the error as its cause. */
export function toConnectError(error: unknown, code: ErrorCode = "CC_INTERNAL"): ConnectError {
  if (error instanceof ConnectError) return error;
  return new ConnectError(code, error instanceof Error ? error.message : String(error), { cause: error });
}
