import { ConnectError } from "@cluster-connect/protocol";
import type { FastifyReply } from "fastify";
import type { AdminContext } from "../context.ts";
import { defineRoute, type Route } from "../route.ts";
import type { StatusChange } from "../status-feed.ts";

const MAX_LISTENERS = 100;
/** A reader that is further behind than this is let go; it dials again and gets the states as they are then. */
const MAX_UNREAD_BYTES = 262_144;
const HEARTBEAT_MS = 15_000;

/** Changes of clusters' states as server-sent events. */
export function eventRoutes(context: AdminContext): readonly Route[] {
  return [
    defineRoute({
      method: "GET",
      path: "/v1/admin/events",
      access: "read",
      summary: "Server-sent events `status`: each cluster of this relay as it is, then each change.",
      answer: "text/event-stream",
      handle: async ({ reply }) => {
        if (context.statuses.listeners >= MAX_LISTENERS) {
          throw new ConnectError("CC_LIMIT_REACHED", "Too many listen to events", { retryAfterMs: 10_000 });
        }
        streamEvents(reply, context);
      },
    }),
  ];
}

function streamEvents(reply: FastifyReply, { statuses, registry, now }: AdminContext): void {
  reply.hijack();
  const response = reply.raw;
  response.writeHead(200, {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
  const send = (text: string): void => {
    response.write(text);
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
  };
  const sendChange = (change: StatusChange): void => send(`event: status\ndata: ${JSON.stringify(change)}\n\n`);
  // The headers go out with the first byte.
  send(": listening\n\n");
  const at = new Date(now()).toISOString();
  for (const clusterId of new Set(registry.tunnels().map((tunnel) => tunnel.clusterId))) {
    const { state, reason } = registry.view(clusterId);
    sendChange({ at, clusterId, status: state, reason: reason ?? null });
  }
  const stop = statuses.listen(sendChange);
  const heartbeat = setInterval(() => send(": still here\n\n"), HEARTBEAT_MS);
  response.once("close", () => {
    stop();
    clearInterval(heartbeat);
  });
}
