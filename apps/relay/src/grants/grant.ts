import { toConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { isClusterPattern, isUpstreamName } from "../config-values.ts";
import { type LabelSelector, parseLabelSelector } from "./label-selector.ts";
import { checkSubject, compileSubject, SUBJECT_FIELDS, type Subject, type SubjectSpec } from "./subject.ts";

/** Lets callers open streams to clusters, as it is written in settings, files and the API. */
export interface GrantSpec extends SubjectSpec {
  /** Cluster ids; `*` is every cluster. This or `clusterSelector`. */
  readonly clusters?: readonly string[] | undefined;
  /** Label selector in Kubernetes' syntax. */
  readonly clusterSelector?: string | undefined;
  /** Where in the cluster; its apiserver (`kubernetes`) alone without it. */
  readonly upstreams?: readonly string[] | undefined;
  /** From this moment on the grant gives nothing. */
  readonly expiresAt?: Date | undefined;
}

/** Where a grant was written down. */
export type GrantSource = "config" | "file" | "api";

/** A grant that is in force, or was until it expired. */
export interface Grant {
  /** Unique among all sources. */
  readonly id: string;
  readonly source: GrantSource;
  readonly spec: GrantSpec;
  readonly subject: Subject;
  readonly selector: LabelSelector | undefined;
}

const GRANT_FIELDS = {
  clusters: z.array(z.string().refine(isClusterPattern, "expected a cluster id or *")).min(1).max(1_000).optional(),
  clusterSelector: z
    .string()
    .superRefine((source, context) => {
      try {
        parseLabelSelector(source);
      } catch (error) {
        context.addIssue({ code: "custom", message: toConnectError(error).message });
      }
    })
    .optional(),
  upstreams: z
    .array(
      z
        .string()
        .refine(isUpstreamName, "expected kubernetes or a name of a-z, 0-9 and - that agents have in upstreams"),
    )
    .min(1)
    .max(100)
    .optional(),
  ...SUBJECT_FIELDS,
  expiresAt: z.iso
    .datetime({ offset: true })
    .transform((text) => new Date(text))
    .optional(),
};

/** Reads a grant; every problem becomes an issue with its path. */
export const GRANT_SCHEMA: z.ZodType<GrantSpec> = z.strictObject(GRANT_FIELDS).superRefine(checkGrant);

/** A grant in a file, which has a name. */
export interface NamedGrantSpec {
  readonly name: string;
  readonly spec: GrantSpec;
}

/** Reads a grant with a name of its own. */
export const NAMED_GRANT_SCHEMA: z.ZodType<NamedGrantSpec> = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, "expected 1 to 63 characters of a-z, 0-9, - and ."),
    ...GRANT_FIELDS,
  })
  .superRefine(checkGrant)
  .transform(({ name, ...spec }) => ({ name, spec }));

function checkGrant(spec: GrantSpec, context: Parameters<typeof checkSubject>[1]): void {
  if ((spec.clusters === undefined) === (spec.clusterSelector === undefined)) {
    context.addIssue({ code: "custom", path: ["clusters"], message: "expected either clusters or clusterSelector" });
  }
  checkSubject(spec, context);
}

/** Makes a grant usable. @throws ConnectError when the spec did not come from a schema of this file. */
export function compileGrant(id: string, source: GrantSource, spec: GrantSpec): Grant {
  const { clusterSelector } = spec;
  return {
    id,
    source,
    spec,
    subject: compileSubject(spec),
    selector: clusterSelector === undefined ? undefined : parseLabelSelector(clusterSelector),
  };
}
