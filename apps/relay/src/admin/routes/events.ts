import { ConnectError } from "@cluster-connect/protocol";
import type { FastifyReply } from "fastify";
import { type ClusterStatus, listStatuses } from "../../store/cluster-status.ts";
import type { AdminContext } from "../context.ts";
import { defineRoute, type Route } from "../route.ts";

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
      summary:
        "Server-sent events `status`, until the token ends: each cluster as it is, then each change at whichever relay. One may come twice; its `id` is the same then.",
      answer: "text/event-stream",
      handle: async ({ reply, principal }) => {
        if (context.statuses.listeners >= MAX_LISTENERS) {
          throw new ConnectError("CC_LIMIT_REACHED", "Too many listen to events", { retryAfterMs: 10_000 });
        }
        await streamEvents(reply, principal.expiresAt, context);
      },
    }),
  ];
}

/** @param until when the token ends, and what it opened with it. */
async function streamEvents(reply: FastifyReply, until: Date, { statuses, store, now }: AdminContext): Promise<void> {
  const early: ClusterStatus[] = [];
  let sendChange = (change: ClusterStatus): void => void early.push(change);
  // From now on, so that nothing between the states and the changes is missed.
  const stop = statuses.listen((change) => sendChange(change));
  const found = await listStatuses(store.db).catch((error: unknown) => {
    stop();
    throw error;
  });
  reply.hijack();
  const response = reply.raw;
  if (response.destroyed) return stop();
  response.writeHead(200, {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
  const send = (text: string): void => {
    response.write(text);
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
  };
  sendChange = (change) => send(`id: ${change.id}\nevent: status\ndata: ${JSON.stringify(change)}\n\n`);
  // The headers go out with the first byte.
  send(": listening\n\n");
  for (const change of [...found, ...early]) sendChange(change);
  const beat = (): void => {
    if (now() >= until.getTime()) response.end();
    else send(": still here\n\n");
  };
  const heartbeat = setInterval(beat, HEARTBEAT_MS);
  response.once("close", () => {
    stop();
    clearInterval(heartbeat);
  });
}
