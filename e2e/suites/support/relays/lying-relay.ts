import { createServer, type IncomingMessage } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, type Socket } from "node:net";
import { acceptSession, type IncomingStream, splice } from "@cluster-connect/framing";
import { createWebSocketAcceptor, refuseUpgrade } from "@cluster-connect/framing/ws";
import { ConnectError, type ErrorCode, parseInstanceId, parseSessionId } from "@cluster-connect/protocol";
import { createAuthority } from "../../../src/cluster/control-plane/certificates.ts";

/** A fake of a cluster: TLS with an authority of its own, and a note of what reached it. */
export interface RecordingCluster {
  readonly id: string;
  readonly caPem: string;
  readonly port: number;
  /** `Authorization` of each request. */
  readonly tokens: readonly string[];
  close(): void;
}

/** A fake of a relay that says all that it is told to, and notes all that it is given. */
export interface LyingRelay {
  readonly url: string;
  /** Answers by path; what is not there is not found. */
  readonly answers: Map<string, unknown>;
  /** Refuses every request but those without a token with this. */
  refusal: { readonly code: string; readonly message: string } | undefined;
  /** Refuses every stream with this. */
  rejection: { readonly code: ErrorCode; readonly text: string } | undefined;
  /** Where streams to a cluster really go. */
  readonly routes: Map<string, RecordingCluster>;
  /** Tokens that requests and channels were authorized with. */
  readonly tokens: readonly string[];
  /** Paths that were asked for. */
  readonly paths: readonly string[];
  close(): void;
}

const SUFFIX = "clusters.cluster-connect.internal";

/** The server name that means a cluster. */
export const serverNameOf = (id: string): string => `${id}.${SUFFIX}`;

export async function startRecordingCluster(id: string): Promise<RecordingCluster> {
  const authority = await createAuthority(`authority of ${id}`, { now: () => new Date() });
  const leaf = await authority.issue({ commonName: id, hosts: [serverNameOf(id)] });
  const tokens: string[] = [];
  const server = createTlsServer({ cert: leaf.certPem, key: leaf.keyPem }, (request, response) => {
    tokens.push(request.headers.authorization ?? "");
    response.writeHead(200, { "content-type": "application/json" }).end('{"gitVersion":"v1.36.0"}');
  });
  const port = await listen(server);
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { id, caPem: authority.certPem, port, tokens, close };
}

/** A cluster as a truthful relay lists it. */
export function listed(cluster: RecordingCluster, more: Readonly<Record<string, unknown>> = {}): unknown {
  return {
    id: cluster.id,
    status: "connected",
    since: null,
    lastSeenAt: null,
    lastSeenSeconds: 1,
    reason: null,
    agents: [{ instanceId: "agent-1", since: "2026-01-01T00:00:00.000Z" }],
    certificateAuthorities: cluster.caPem,
    authoritySignatures: null,
    fingerprint: "not believed",
    serverName: serverNameOf(cluster.id),
    ...more,
  };
}

export async function startLyingRelay(): Promise<LyingRelay> {
  const tokens: string[] = [];
  const paths: string[] = [];
  const sockets = new Set<Socket>();
  const accept = createWebSocketAcceptor();
  const note = ({ headers, url = "/" }: IncomingMessage): string => {
    if (headers.authorization !== undefined) tokens.push(headers.authorization);
    const { pathname } = new URL(url, "http://relay");
    paths.push(pathname);
    return pathname;
  };
  const server = createServer((request, response) => {
    const path = note(request);
    const isRefused = relay.refusal !== undefined && request.headers.authorization !== undefined;
    const found = isRefused ? relay.refusal : relay.answers.get(path);
    const status = isRefused ? 403 : found === undefined ? 404 : 200;
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(found ?? {}));
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("upgrade", async (request, socket, head) => {
    note(request);
    if (request.headers.authorization === undefined) {
      refuseUpgrade(socket, new ConnectError("CC_TOKEN_MISSING", "no token"));
      return;
    }
    const channel = await accept(request, socket, head);
    if (channel === undefined) return;
    acceptSession(channel, {
      role: "relay",
      instanceId: parseInstanceId("lying-relay-1"),
      software: "lying/0",
      authenticate: async () => ({ sessionId: parseSessionId("session-1") }),
      onStream: (incoming) => lead(incoming, relay),
    });
  });
  const port = await listen(server);
  const relay: LyingRelay = {
    url: `http://127.0.0.1:${port}`,
    answers: new Map(),
    refusal: undefined,
    rejection: undefined,
    routes: new Map(),
    tokens,
    paths,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
  return relay;
}

function lead(incoming: IncomingStream, { rejection, routes }: LyingRelay): void {
  const { request } = incoming;
  const cluster = request.kind === "open" ? routes.get(request.open.cluster) : undefined;
  if (rejection !== undefined || cluster === undefined) {
    incoming.reject(rejection?.code ?? "CC_AGENT_OFFLINE", rejection?.text ?? "there is no agent");
    return;
  }
  const stream = incoming.accept({ instanceId: parseInstanceId("agent-1-of-a-test") });
  splice(connect({ port: cluster.port, host: "127.0.0.1", allowHalfOpen: true }), stream).catch(() => {});
}

async function listen(server: {
  listen(port: number, host: string): unknown;
  address(): unknown;
  once(event: string, listener: () => void): unknown;
}): Promise<number> {
  const listening = new Promise<void>((resolve) => server.once("listening", resolve));
  server.listen(0, "127.0.0.1");
  await listening;
  const address = server.address();
  return typeof address === "object" && address !== null && "port" in address ? Number(address.port) : 0;
}
