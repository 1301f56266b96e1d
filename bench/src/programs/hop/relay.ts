import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import {
  acceptSession,
  createSessionDeps,
  forwardStream,
  type IncomingStream,
  type Session,
} from "@cluster-connect/framing";
import { createWebSocketAcceptor } from "@cluster-connect/framing/ws";
import { parseInstanceId, parseSessionId, toConnectError } from "@cluster-connect/protocol";
import { listen } from "../local-server.ts";
import type { HopSettings } from "./settings.ts";

/** Joins the streams of a CLI with an agent's tunnel. @returns its port. */
export async function startRelay(settings: Extract<HopSettings, { role: "relay" }>): Promise<number> {
  const { certFile, keyFile, hopWindow } = settings;
  const accept = createWebSocketAcceptor();
  const server = createServer({ cert: await readFile(certFile), key: await readFile(keyFile) });
  const sessionDeps = createSessionDeps();
  let tunnel: Session | undefined;

  function forward(incoming: IncomingStream): void {
    try {
      if (tunnel === undefined) throw new Error("there is no agent yet");
      forwardStream(incoming, tunnel, incoming.request);
    } catch (error) {
      const { code, message } = toConnectError(error);
      incoming.reject(code, message);
    }
  }

  server.on("upgrade", async (request, socket, head) => {
    const channel = await accept(request, socket, head);
    if (channel === undefined) return;
    const session = acceptSession(
      channel,
      {
        role: "relay",
        instanceId: parseInstanceId("bench-relay"),
        software: "bench",
        hopWindow: { enabled: hopWindow },
        authenticate: async () => ({ sessionId: parseSessionId("bench-session") }),
        onStream: forward,
      },
      sessionDeps,
    );
    if (request.url === "/v1/agent") tunnel = session;
  });
  return await listen(server);
}
