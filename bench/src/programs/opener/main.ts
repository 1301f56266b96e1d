/** The near end of our chain: what the CLI does with a local connection, without kubeconfig and login. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { createStreamOpener, dialSession, splice, supervise } from "@cluster-connect/framing";
import { dialWebSocket } from "@cluster-connect/framing/ws";
import { parseClusterId, parseCorrelationId, parseInstanceId } from "@cluster-connect/protocol";
import { listen } from "../local-server.ts";
import { readSettings } from "../settings.ts";
import type { OpenerPorts, OpenerSettings } from "./settings.ts";

const settings = readSettings<OpenerSettings>(process.argv);
const cluster = parseClusterId(settings.cluster);
const ca = await readFile(settings.caFile, "utf8");
const token = settings.tokenFile === undefined ? undefined : (await readFile(settings.tokenFile, "utf8")).trim();
const opener = createStreamOpener();
const firstReady = Promise.withResolvers<void>();

supervise(
  async (signal) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const channel = await dialWebSocket(new URL(settings.url), { signal, headers, tls: { ca } });
    return dialSession(channel, {
      role: "cli",
      instanceId: parseInstanceId("bench-cli"),
      software: "bench",
      hopWindow: { enabled: settings.hopWindow },
    });
  },
  {
    signal: new AbortController().signal,
    onReady: (session) => {
      opener.use(session);
      firstReady.resolve();
    },
    retry: () => false,
  },
).catch((error: unknown) => {
  throw error;
});

async function serve(socket: Socket, upstream: string): Promise<void> {
  socket.on("error", () => undefined);
  const gone = new AbortController();
  socket.once("close", () => gone.abort(new Error("the local connection is closed")));
  const correlationId = parseCorrelationId(randomBytes(16).toString("hex"));
  try {
    const stream = await opener.open({ cluster, upstream, correlationId }, { signal: gone.signal, reopen: true });
    await splice(socket, stream, { signal: gone.signal });
  } catch {
    socket.destroy();
  }
}

await firstReady.promise;
const ports: Record<string, number> = {};
for (const upstream of settings.upstreams) {
  ports[upstream] = await listen(
    createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void serve(socket, upstream)),
  );
}
process.send?.(ports satisfies OpenerPorts);
