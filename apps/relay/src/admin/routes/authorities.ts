import { DONE } from "@cluster-connect/api";
import { ConnectError, parseClusterId } from "@cluster-connect/protocol";
import { z } from "zod";
import { acceptedWith, newFingerprints } from "../../agents/authorities.ts";
import { CLUSTER_ID } from "../../http/fields.ts";
import { defineRoute, type Route } from "../../http/route.ts";
import { findPendingAuthorities, settleAuthorities } from "../../store/queries/clusters.ts";
import type { AdminContext } from "../context.ts";

/** SHA-256 as openssl prints it, with or without colons. */
const FINGERPRINT = z
  .string()
  .regex(/^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$/, "expected the SHA-256 fingerprint of a certificate that waits");

/** Authorities that agents announced: accept or reject them. */
export function authorityRoutes(context: AdminContext): readonly Route[] {
  return [
    defineRoute({
      method: "POST",
      path: "/v1/admin/clusters/:cluster/authorities",
      access: "write",
      summary:
        "Accepts or rejects authorities that an agent announced and that do not follow from the accepted ones. The fingerprint, compared with the cluster itself, says which certificate is meant; one that is announced beside it is not accepted with it.",
      params: z.strictObject({ cluster: CLUSTER_ID }),
      body: z.strictObject({ fingerprint: FINGERPRINT, decision: z.enum(["accepted", "rejected"]) }),
      answer: DONE,
      handle: async ({ params, body, principal }) => {
        const clusterId = parseClusterId(params.cluster);
        const { db } = context.store;
        const { accepted, pending } = await findPendingAuthorities(db, clusterId);
        const fingerprint = plainFingerprint(body.fingerprint);
        if (pending === null || !newFingerprints(accepted, pending).includes(fingerprint)) {
          throw notPending(params.cluster);
        }
        const pem = body.decision === "accepted" ? acceptedWith(accepted, pending, fingerprint) : undefined;
        const by = { actor: principal, at: new Date(context.now()) };
        if (!(await settleAuthorities(db, { clusterId, accepted, pending, pem, fingerprint }, by))) {
          throw notPending(params.cluster);
        }
        return { done: true };
      },
    }),
  ];
}

function plainFingerprint(text: string): string {
  return (text.replaceAll(":", "").toUpperCase().match(/../g) ?? []).join(":");
}

function notPending(id: string): ConnectError {
  return new ConnectError("CC_REQUEST_REFUSED", `No authorities with this fingerprint wait for cluster ${id}`);
}
