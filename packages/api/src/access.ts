import { z } from "zod";

/** A decision about grants, as the relay explains it. */
export interface AccessDecision {
  readonly cluster: string;
  readonly allowed: boolean;
  readonly reason: string;
  /** Which grant allows it. */
  readonly grant: string | null;
  /** Grants that lack one thing only. */
  readonly near: readonly { readonly grant: string; readonly lack: string; readonly text: string }[];
}

/** {@link AccessDecision}: the answer of `GET /v1/access` and `POST /v1/admin/grants/check`. */
export const ACCESS_DECISION = z.object({
  cluster: z.string(),
  allowed: z.boolean(),
  reason: z.string(),
  grant: z.string().nullable(),
  near: z.array(
    z.object({
      grant: z.string(),
      lack: z.enum(["cluster", "upstream", "caller", "condition", "expired"]),
      text: z.string(),
    }),
  ),
}) satisfies z.ZodType<AccessDecision>;
