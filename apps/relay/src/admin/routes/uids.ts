import { CLUSTER_UID_FIELD, DONE } from "@cluster-connect/api";
import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { z } from "zod";
import { CLUSTER_ID } from "../../http/fields.ts";
import { defineRoute, type Route } from "../../http/route.ts";
import { settleClusterUid } from "../../store/uids/cluster-uids.ts";
import type { AdminContext } from "../context.ts";

/** Two clusters under one name: which of them it stands for. */
export function uidRoutes(context: AdminContext): readonly Route[] {
  return [
    defineRoute({
      method: "POST",
      path: "/v1/admin/clusters/:cluster/uid",
      access: "write",
      summary:
        "Decides about another cluster that claims this one's name, by the UID of its namespace kube-system. An accepted one takes the place of the former, whose agents are refused from then on; a refused one stays refused and is not told again. A UID that was refused may be accepted later.",
      params: z.strictObject({ cluster: CLUSTER_ID }),
      body: z.strictObject({ uid: CLUSTER_UID_FIELD, decision: z.enum(["accepted", "rejected"]) }),
      answer: DONE,
      handle: async ({ params, body, principal }) => {
        const clusterId = parseClusterId(params.cluster);
        const by = { actor: principal, at: new Date(context.now()) };
        if (await settleClusterUid(context.store.db, { clusterId, ...body }, by)) return { done: true };
        throw new ConnectError("CC_REQUEST_REFUSED", `No cluster with this UID claims the name ${params.cluster}`);
      },
    }),
  ];
}
