import type { Principal } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import type { FastifyReply } from "fastify";
import { defineRoute, type Route } from "../../http/route.ts";
import { type ClusterStatus, listStatuses } from "../../store/queries/cluster-status.ts";
import type { AdminContext } from "../context.ts";

const MAX_LISTENERS = 100;
/** A reader that is further behind than this is let go; it dials again and gets the states as they are then. */
const MAX_UNREAD_BYTES = 262_144;
/** Whether the listener may still listen is looked at this often, and each so many times it hears that nothing is new. */
const LOOK_MS = 2_000;
const LOOKS_PER_HEARTBEAT = 7;

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
        await streamEvents(reply, principal, context);
      },
    }),
  ];
}

/** @param principal the caller; the end of their token ends the stream too. */
async function streamEvents(
  reply: FastifyReply,
  principal: Principal,
  { statuses, store, now, stillAdmits }: AdminContext,
): Promise<void> {
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
  if (response.destroyed || reply.request.raw.socket.destroyed) return stop();
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
    if (now() >= principal.expiresAt.getTime() || !stillAdmits(principal)) response.end();
    else if (++looks % LOOKS_PER_HEARTBEAT === 0) send(": still here\n\n");
  };
  let looks = 0;
  const heartbeat = setInterval(beat, LOOK_MS);
  const over = (): void => {
    stop();
    clearInterval(heartbeat);
  };
  response.once("close", over);
  // A response that waits behind another one is not told when their socket closes.
  reply.request.raw.socket.once("close", over);
}
