import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { text } from "node:stream/consumers";
import { parseAgentPublicKey, verifyChallenge } from "@cluster-connect/auth";
import { acceptSession, type Session } from "@cluster-connect/framing";
import { createWebSocketAcceptor } from "@cluster-connect/framing/ws";
import { agentChallengeInput, ConnectError, type Hello, parseSessionId } from "@cluster-connect/protocol";
import { createInstanceId } from "@cluster-connect/service";
import { onTestFinished } from "vitest";

export interface EnrollmentBody {
  readonly code: string;
  readonly publicKey: string;
  readonly clusterAuthorities: string;
  readonly clusterId?: string;
}

export interface RotationBody {
  readonly keyId: string;
  readonly publicKey: string;
  readonly at: string;
  readonly signature: string;
  readonly newSignature: string;
}

/** Behaviour of the test relay; a test may change it while it runs. */
export interface RelayBehaviour {
  /** Answer of `/v1/enroll`. */
  enroll: (body: EnrollmentBody) => { readonly status: number; readonly body: unknown };
  /** Whether a proof by a key that enrolled is accepted. */
  acceptProof: boolean;
  /** Makes a key worthless. */
  revoke: (keyId: string) => void;
}

/** The relay's side of the protocol, as small as a test needs it. */
export interface TestRelay {
  readonly url: URL;
  readonly behaviour: RelayBehaviour;
  readonly enrollments: readonly EnrollmentBody[];
  readonly rotations: readonly RotationBody[];
  /** HELLO of each agent that was accepted. */
  readonly hellos: readonly Hello[];
  /** The next session that becomes ready. */
  nextSession(): Promise<Session>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

const KEY_REFUSED = {
  status: 403,
  body: { code: "CC_AGENT_KEY_REFUSED", message: "The agent's former key is not enrolled", hint: "Enroll." },
};

/** @param tls PEM; without it the relay speaks plain HTTP. */
export async function startTestRelay(tls?: { readonly cert: string; readonly key: string }): Promise<TestRelay> {
  const keys = new Map<string, string>();
  const enrollments: EnrollmentBody[] = [];
  const rotations: RotationBody[] = [];
  const hellos: Hello[] = [];
  const sessions = new Set<Session>();
  const waiting: ((session: Session) => void)[] = [];
  const ready: Session[] = [];
  const instanceId = createInstanceId();
  const accept = createWebSocketAcceptor();
  let server: Server = createServer();
  let port = 0;

  const behaviour: RelayBehaviour = {
    acceptProof: true,
    revoke: (keyId) => void keys.delete(keyId),
    enroll: ({ publicKey }) => {
      const { keyId } = parseAgentPublicKey(publicKey);
      keys.set(keyId, publicKey);
      return { status: 200, body: { clusterId: "prod", keyId, relayId: "relay-0001" } };
    },
  };

  async function onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body: EnrollmentBody & RotationBody = JSON.parse(await text(request));
    const isRotation = request.url === "/v1/agent/keys";
    if (isRotation) rotations.push(body);
    else enrollments.push(body);
    const answer = isRotation && !keys.has(body.keyId) ? KEY_REFUSED : behaviour.enroll(body);
    response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(answer.body));
  }

  function listen(): Promise<unknown> {
    const handle = (request: IncomingMessage, response: ServerResponse): void => void onRequest(request, response);
    server = tls === undefined ? createServer(handle) : createHttpsServer(tls, handle);
    server.on("upgrade", (request, socket, head) => {
      void accept(request, socket, head).then((channel) => {
        if (channel === undefined) return;
        const session = acceptSession(channel, {
          role: "relay",
          instanceId,
          software: "relay/test",
          authenticate: async (hello, challenge) => {
            judge(hello, challenge);
            hellos.push(hello);
            return { sessionId: parseSessionId("session-1") };
          },
        });
        sessions.add(session);
        session.ready.then(
          () => (waiting.length > 0 ? waiting.shift()?.(session) : ready.push(session)),
          () => undefined,
        );
      });
    });
    server.listen(port, "127.0.0.1");
    return once(server, "listening");
  }

  function judge(
    { agent, instanceId: agentInstanceId }: Hello,
    challenge: Parameters<typeof agentChallengeInput>[0]["challenge"],
  ): void {
    const publicKey = keys.get(agent?.keyId ?? "");
    if (agent === undefined || publicKey === undefined || !behaviour.acceptProof) {
      throw new ConnectError("CC_AGENT_KEY_REFUSED", "The agent's key is not enrolled for this cluster");
    }
    const { clusterId, authority, signature } = agent;
    const parts = { challenge, relayInstanceId: instanceId, agentInstanceId, clusterId, authority };
    verifyChallenge({ publicKey }, agentChallengeInput(parts), signature);
  }

  async function stop(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    for (const session of sessions) session.close();
    server.closeAllConnections();
    await closed;
  }

  await listen();
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  port = address.port;
  onTestFinished(stop);
  return {
    url: new URL(`${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`),
    behaviour,
    enrollments,
    rotations,
    hellos,
    nextSession: () => {
      const next = ready.shift();
      return next === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(next);
    },
    stop,
    start: async () => {
      await listen();
    },
  };
}
