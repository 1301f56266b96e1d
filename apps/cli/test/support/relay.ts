import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import type { LoginSettings } from "@cluster-connect/api";
import {
  acceptSession,
  createResumeRegistry,
  type IncomingStream,
  type ResumeRegistry,
  type Session,
  splice,
} from "@cluster-connect/framing";
import { createWebSocketAcceptor, refuseUpgrade } from "@cluster-connect/framing/ws";
import {
  ConnectError,
  ERRORS,
  type ErrorCode,
  encodeProbe,
  type ProbeDocument,
  parseInstanceId,
  parseSessionId,
  UPSTREAM_PROBE,
} from "@cluster-connect/protocol";
import { onTestFinished } from "vitest";
import { createAuthority, type TestAuthority } from "./certificates.ts";

/** One cluster behind the test's relay. */
export interface TestCluster {
  readonly id: string;
  readonly authority: TestAuthority;
  readonly serverName: string;
  /** Tokens that the cluster's requests came with. */
  readonly tokens: readonly string[];
  /** Rules of the caller there; those that ask about themselves come on top. */
  rules: readonly unknown[];
  /** The cluster's answer to a request. */
  answer: { status: number; body: unknown };
  /** Its agent keeps streams whose channel was lost, until {@link TestRelay.stop}. */
  keepsStreams: boolean;
  /** Streams are refused with this code instead. */
  rejection: ErrorCode | undefined;
  /** Authorities that the relay announces for it. */
  announced: string | null;
  /** A fleet key's signatures of them. */
  signatures: string | null;
  /** Fingerprint of an authority that waits, as the relay tells it. */
  pending: string | null;
  /** UID of another cluster under this one's name, as the relay tells it. */
  duplicate: string | null;
  /** Its agent's report about the way behind it. */
  probe: ProbeDocument;
}

/** A relay with its clusters in one process: real HTTP, real WebSockets, real TLS behind the streams. */
export interface TestRelay {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Of its own certificate, PEM; "" without TLS. */
  readonly authority: string;
  login: LoginSettings | null;
  /** Tokens that requests and channels came with. */
  readonly tokens: readonly string[];
  /** Requests and channels are refused with this error. */
  refusal: ConnectError | undefined;
  readonly sessions: ReadonlySet<Session>;
  /** Streams of clusters that keep them, with and without a channel. */
  readonly keptStreams: number;
  /** Trace contexts of OPENs. */
  readonly traceparents: readonly (string | undefined)[];
  addCluster(id: string): Promise<TestCluster>;
  /** A variable with the fingerprints of the clusters so far, for programs without a person to ask. */
  trusted(): Readonly<Record<string, string>>;
  /** Breaks every channel off, as a lost network does. */
  cut(): void;
  stop(): Promise<void>;
  /** Listens again on the same port. */
  start(): Promise<void>;
}

const REVIEW = { status: { userInfo: { username: "oidc:jane", groups: ["oidc:team", "system:authenticated"] } } };
const INSTANCE = parseInstanceId("relay-for-tests");
const AGENT = parseInstanceId("agent-for-tests");
const GRACE_MS = 60_000;

/** @param options `tlsName` makes it speak TLS, with a certificate of its own authority for that name. */
export async function startRelay(options: { readonly tlsName?: string } = {}): Promise<TestRelay> {
  const authority = options.tlsName === undefined ? undefined : await createAuthority();
  const clusters = new Map<string, { cluster: TestCluster; port: number }>();
  const tokens: string[] = [];
  const sessions = new Set<Session>();
  const traceparents: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  const registry = createResumeRegistry();
  const accept = createWebSocketAcceptor();
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    if (request.url === "/.well-known/cluster-connect") {
      send(200, { relayId: "relay", software: "test", login: relay.login });
      return;
    }
    const refused = judge(request);
    if (refused !== undefined) send(ERRORS[refused.code].http, { code: refused.code, message: refused.message });
    else if (request.url?.startsWith("/v1/access?") === true) send(200, access(request.url, clusters));
    else if (request.method === "PATCH") void patch(request, clusters).then((body) => send(200, body));
    else send(200, { clusters: [...clusters.values()].map(({ cluster }) => describe(cluster)) });
  };
  const server =
    authority === undefined
      ? createHttpServer(onRequest)
      : createHttpsServer(await authority.issue(options.tlsName ?? ""), onRequest);
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("upgrade", (request, socket, head) => {
    const refused = judge(request);
    if (refused !== undefined) {
      refuseUpgrade(socket, refused);
      return;
    }
    void accept(request, socket, head).then((channel) => {
      if (channel === undefined) return;
      const session = acceptSession(channel, {
        role: "relay",
        instanceId: INSTANCE,
        software: "test",
        authenticate: async () => ({ sessionId: parseSessionId("session-1") }),
        onStream: (incoming) => {
          if (incoming.request.kind === "open") traceparents.push(incoming.request.open.traceparent);
          onStream(incoming, clusters, registry);
        },
      });
      sessions.add(session);
      void session.closed.then(() => sessions.delete(session));
    });
  });

  function judge(request: IncomingMessage): ConnectError | undefined {
    const [scheme, token] = (request.headers.authorization ?? "").split(" ");
    if (scheme !== "Bearer" || token === undefined) return new ConnectError("CC_TOKEN_MISSING", "There is no token");
    tokens.push(token);
    return relay.refusal;
  }

  async function listen(port: number): Promise<number> {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  async function stop(): Promise<void> {
    registry.close();
    for (const socket of sockets) socket.destroy();
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    await closed;
  }

  const port = await listen(0);
  const relay: TestRelay = {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    port,
    authority: authority?.pem ?? "",
    login: null,
    tokens,
    refusal: undefined,
    sessions,
    get keptStreams() {
      return registry.counters.streams;
    },
    traceparents,
    async addCluster(id) {
      const started = await startCluster(id);
      clusters.set(id, started);
      return started.cluster;
    },
    trusted() {
      const fingerprints = [...clusters.values()].map(
        ({ cluster }) => `${cluster.id}=${new X509Certificate(cluster.authority.pem).fingerprint256}`,
      );
      return { CLUSTER_CONNECT_CLUSTER_FINGERPRINT: fingerprints.join(" ") };
    },
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    stop,
    start: async () => void (await listen(port)),
  };
  onTestFinished(stop);
  return relay;
}

function describe(cluster: TestCluster): unknown {
  return {
    id: cluster.id,
    status: cluster.rejection === undefined ? "connected" : "offline",
    since: "2026-01-01T00:00:00.000Z",
    lastSeenAt: "2026-01-01T00:00:00.000Z",
    lastSeenSeconds: 7,
    reason: null,
    agents: [{ instanceId: "agent-for-tests", since: "2026-01-01T00:00:00.000Z" }],
    certificateAuthorities: cluster.announced,
    authoritySignatures: cluster.signatures,
    fingerprint: "not believed",
    pendingFingerprint: cluster.pending,
    pendingUid: cluster.duplicate,
    serverName: cluster.serverName,
  };
}

function onStream(
  incoming: IncomingStream,
  clusters: ReadonlyMap<string, { cluster: TestCluster; port: number }>,
  registry: ResumeRegistry,
): void {
  const { request } = incoming;
  const id = request.kind === "open" ? request.open.cluster : request.resume.cluster;
  const found = clusters.get(id);
  const code = found === undefined ? "CC_CLUSTER_UNKNOWN" : found.cluster.rejection;
  const keeps = found?.cluster.keepsStreams === true;
  if (found === undefined || code !== undefined || (request.kind === "resume" && !keeps)) {
    incoming.reject(code ?? "CC_RESUME_UNKNOWN", `refused in the test`);
    return;
  }
  if (request.kind === "resume") {
    registry.answer(incoming, { instanceId: AGENT, graceMs: GRACE_MS });
    return;
  }
  if (request.open.upstream === UPSTREAM_PROBE) {
    incoming.accept({ instanceId: AGENT }).end(encodeProbe(found.cluster.probe));
    return;
  }
  const upstream = connect({ port: found.port, host: "127.0.0.1", allowHalfOpen: true });
  const stream = keeps
    ? registry.answer(incoming, { instanceId: AGENT, graceMs: GRACE_MS })
    : incoming.accept({ instanceId: AGENT });
  if (stream === undefined) return;
  splice(upstream, stream).catch(() => {});
}

const OWN_RULE = { apiGroups: ["authorization.k8s.io"], resources: ["selfsubjectrulesreviews"], verbs: ["create"] };

function reviewFor(path: string, { rules }: TestCluster): TestCluster["answer"] | undefined {
  if (path.endsWith("/selfsubjectreviews")) return { status: 201, body: REVIEW };
  if (!path.endsWith("/selfsubjectrulesreviews")) return undefined;
  return { status: 201, body: { status: { resourceRules: [OWN_RULE, ...rules] } } };
}

async function startCluster(id: string): Promise<{ cluster: TestCluster; port: number }> {
  const authority = await createAuthority();
  const serverName = `${id}.clusters.cluster-connect.internal`;
  const tokens: string[] = [];
  const cluster: TestCluster = {
    id,
    authority,
    serverName,
    tokens,
    rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["list"] }],
    answer: { status: 200, body: { gitVersion: "v1.36.3" } },
    keepsStreams: false,
    rejection: undefined,
    announced: authority.pem,
    signatures: null,
    pending: null,
    duplicate: null,
    probe: {
      agent: { ok: true, text: "running" },
      authProxy: { ok: true, text: "ready" },
      apiserver: { ok: true, text: "answers" },
    },
  };
  const server = createHttpsServer(await authority.issue(serverName), (request, response) => {
    tokens.push(request.headers.authorization ?? "");
    const { status, body } = reviewFor(request.url ?? "", cluster) ?? cluster.answer;
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return { cluster, port: typeof address === "object" && address !== null ? address.port : 0 };
}

/** Takes a fleet key's signatures from every caller. */
async function patch(
  request: IncomingMessage,
  clusters: ReadonlyMap<string, { readonly cluster: TestCluster }>,
): Promise<unknown> {
  const id = request.url?.split("/").at(-1) ?? "";
  const found = clusters.get(id)?.cluster;
  if (found !== undefined) found.signatures = JSON.parse(await text(request)).authoritySignatures;
  return { id };
}

/** Every caller may reach the clusters that are there. */
function access(url: string, clusters: ReadonlyMap<string, unknown>): unknown {
  const cluster = new URL(url, "http://relay").searchParams.get("cluster") ?? "";
  const near = [{ grant: "api/old", lack: "expired", text: "it has expired" }];
  if (!clusters.has(cluster)) return { cluster, allowed: false, reason: "the grant has expired", grant: null, near };
  return { cluster, allowed: true, reason: "granted to group team", grant: "api/team", near: [] };
}
