import { UPSTREAM_KUBERNETES } from "@cluster-connect/protocol";
import { z } from "zod";

/** A cluster's id in a request. */
export const CLUSTER_ID: z.ZodString = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "expected 1 to 63 characters of a-z, 0-9 and -");

/** Any other id in a path or query. */
export const ID: z.ZodString = z.string().regex(/^[A-Za-z0-9_./-]{1,128}$/, "expected an id as it was printed");

/** Where in a cluster; its apiserver unless it is named. */
export const UPSTREAM: z.ZodDefault<z.ZodString> = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "expected the name of an upstream")
  .default(UPSTREAM_KUBERNETES);
