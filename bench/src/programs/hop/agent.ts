import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { dialSession, type IncomingStream, splice } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import { parseInstanceId } from "@cluster-connect/protocol";
import type { HopSettings } from "./settings.ts";

const INSTANCE = parseInstanceId("bench-agent");

/** Takes streams from a relay to their upstreams; resolves when its tunnel is open. */
export async function startAgent(settings: Extract<HopSettings, { role: "agent" }>): Promise<void> {
  const { url, caFile, upstreams, hopWindow } = settings;
  const tls = { ca: await readFile(caFile, "utf8") };
  const channel = await dialWebSocket(new URL(url), { signal: new AbortController().signal, tls });
  const session = dialSession(channel, {
    role: "agent",
    instanceId: INSTANCE,
    software: "bench",
    hopWindow: { enabled: hopWindow },
    onStream: (incoming) => serve(incoming, upstreams),
  });
  await session.ready;
}

function serve(incoming: IncomingStream, upstreams: Readonly<Record<string, number>>): void {
  const { request } = incoming;
  const port = request.kind === "open" ? upstreams[request.open.upstream] : undefined;
  if (port === undefined) {
    incoming.reject("CC_UPSTREAM_UNREACHABLE", "There is no such upstream");
    return;
  }
  const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
  socket.on("error", () => undefined);
  // The splice tells each side when the other one broke off.
  splice(incoming.accept({ instanceId: INSTANCE, graceMs: 0 }), socket).catch(() => undefined);
}
