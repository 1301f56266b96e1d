import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { parseAgentPublicKey } from "@cluster-connect/auth";
import { acceptSession, createSessionDeps, type Session } from "@cluster-connect/framing";
import { createWebSocketAcceptor } from "@cluster-connect/framing/ws";
import {
  type AgentProof,
  ConnectError,
  decodeEnd,
  type ErrorCode,
  type InstanceId,
  parseInstanceId,
  parseSessionId,
  type Resume,
  type Secret,
} from "@cluster-connect/protocol";

/** The HELLO of a relay that is not ours. */
export interface ForgedHello {
  readonly instanceId: InstanceId;
  readonly challenge: Secret;
}

/** A relay that is not to be trusted: it lets every agent in, and says what it is told to. */
export interface HostileRelay {
  readonly url: string;
  /** SubjectPublicKeyInfo in base64url of the key that enrolled. */
  readonly publicKey: string;
  /** The next session that an agent opens. */
  nextSession(): Promise<Session>;
  /** The next agent hears this HELLO. @returns its proof and its instance id. */
  steal(hello: ForgedHello): Promise<{ readonly proof: AgentProof; readonly agentInstanceId: InstanceId }>;
  stop(): Promise<void>;
}

export async function startHostileRelay(clusterId: string): Promise<HostileRelay> {
  const accept = createWebSocketAcceptor();
  const ready: Session[] = [];
  const waiting: ((session: Session) => void)[] = [];
  const open = new Set<Session>();
  const instanceId = parseInstanceId(randomBytes(12).toString("base64url"));
  let publicKey = "";
  let theft: { readonly hello: ForgedHello; readonly took: ReturnType<typeof taking> } | undefined;
  const server = createServer(async (request, response) => {
    const body: { readonly publicKey: string } = JSON.parse(await text(request));
    publicKey = body.publicKey;
    const answer = { clusterId, keyId: parseAgentPublicKey(publicKey).keyId, relayId: "hostile-relay" };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
  });
  server.on("upgrade", async (request, socket, head) => {
    const channel = await accept(request, socket, head);
    if (channel === undefined) return;
    const current = theft;
    theft = undefined;
    const deps = current === undefined ? {} : { secret: () => current.hello.challenge };
    const session = acceptSession(
      channel,
      {
        role: "relay",
        instanceId: current?.hello.instanceId ?? instanceId,
        software: "hostile/0",
        authenticate: async ({ agent, instanceId: agentInstanceId }) => {
          if (agent !== undefined) current?.took.resolve({ proof: agent, agentInstanceId });
          if (current !== undefined) throw new ConnectError("CC_DRAINING", "Come again");
          return { sessionId: parseSessionId("session-1") };
        },
      },
      { ...createSessionDeps(), ...deps },
    );
    open.add(session);
    void session.closed.then(() => open.delete(session));
    session.ready.then(
      () => (waiting.length > 0 ? waiting.shift()?.(session) : ready.push(session)),
      () => undefined,
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    get publicKey() {
      return publicKey;
    },
    nextSession: () => {
      const next = ready.shift();
      return next === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(next);
    },
    async steal(hello) {
      const took = taking();
      theft = { hello, took };
      for (const session of open) session.close();
      return await took.promise;
    },
    async stop() {
      for (const session of open) session.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

const taking = (): PromiseWithResolvers<{ readonly proof: AgentProof; readonly agentInstanceId: InstanceId }> =>
  Promise.withResolvers();

/** Sends a RESUME by hand. @returns the code with which it was refused; undefined when it was taken. */
export function sendResume(session: Session, resume: Resume): Promise<ErrorCode | undefined> {
  const { promise, resolve } = Promise.withResolvers<ErrorCode | undefined>();
  session.addMember(
    {
      frame: ({ type, payload }) => resolve(type === "REJECT" ? decodeEnd(payload).code : undefined),
      fail: () => undefined,
      lost: ({ code }) => resolve(code),
      turn: () => ({ bytes: 0, more: false }),
    },
    { kind: "resume", resume },
  );
  return promise;
}
