import type { Principal } from "@cluster-connect/auth";
import { ConnectError } from "@cluster-connect/protocol";
import { z } from "zod";
import { checkSubject, compileSubject, SUBJECT_FIELDS, type SubjectSpec } from "../grants/subject.ts";

/** Makes callers administrators; of the same shape as a grant, without clusters. */
export interface AdminSpec extends SubjectSpec {
  /** `read` looks, `write` changes too. */
  readonly access: "read" | "write";
  readonly expiresAt?: Date | undefined;
}

export const ADMIN_SCHEMA: z.ZodType<AdminSpec> = z
  .strictObject({
    access: z.enum(["read", "write"]).default("write"),
    ...SUBJECT_FIELDS,
    expiresAt: z.iso
      .datetime({ offset: true })
      .transform((text) => new Date(text))
      .optional(),
  })
  .superRefine(checkSubject);

/** Whether a caller is an administrator. */
export interface Admins {
  admits(principal: Principal, access: "read" | "write"): boolean;
  /** @throws ConnectError `CC_ADMIN_REQUIRED` unless a rule allows it. */
  require(principal: Principal, access: "read" | "write"): void;
}

export function compileAdmins(specs: readonly AdminSpec[], deps: { readonly now: () => number }): Admins {
  const rules = specs.map((spec) => ({ spec, subject: compileSubject(spec) }));
  const admits: Admins["admits"] = (principal, access) => {
    const now = deps.now();
    return rules.some(
      ({ spec, subject }) =>
        (access === "read" || spec.access === "write") &&
        (spec.expiresAt === undefined || now < spec.expiresAt.getTime()) &&
        subject.names(principal) !== undefined &&
        subject.holds(principal).ok,
    );
  };
  return {
    admits,
    require(principal, access) {
      if (admits(principal, access)) return;
      const what = access === "read" ? "look at" : "change";
      throw new ConnectError("CC_ADMIN_REQUIRED", `${principal.username} may not ${what} the relay's administration`);
    },
  };
}
