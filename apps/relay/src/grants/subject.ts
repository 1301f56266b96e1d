import { compileExpression, type Expression, type Principal } from "@cluster-connect/auth";
import { toConnectError } from "@cluster-connect/protocol";
import { z } from "zod";

/** Callers that a rule means, as it is written. */
export interface SubjectSpec {
  /** Usernames after mapping, exact. */
  readonly users?: readonly string[] | undefined;
  /** Groups after mapping, exact. */
  readonly groups?: readonly string[] | undefined;
  /** Client ids of programs that act for themselves; needs `issuer`. */
  readonly servicePrincipals?: readonly string[] | undefined;
  /** Only tokens of this issuer. */
  readonly issuer?: string | undefined;
  /** CEL about the verified `claims`; has to hold too. Alone it names every caller of `issuer` for which it holds. */
  readonly condition?: string | undefined;
}

/** A compiled {@link SubjectSpec}. */
export interface Subject {
  /** The part that names the caller, such as `group dev`; undefined when none does. */
  names(principal: Principal): string | undefined;
  /** Whether issuer and condition hold; the text says which does not. */
  holds(principal: Principal): { readonly ok: true } | { readonly ok: false; readonly text: string };
}

/** It is evaluated for each stream that is opened. */
const MAX_CONDITION = 4_096;

const NAMES: z.ZodArray<z.ZodString> = z.array(z.string().min(1).max(1_024)).max(1_000);

/** The fields of a {@link SubjectSpec}, for schemas of rules. */
export const SUBJECT_FIELDS: {
  readonly users: z.ZodOptional<z.ZodArray<z.ZodString>>;
  readonly groups: z.ZodOptional<z.ZodArray<z.ZodString>>;
  readonly servicePrincipals: z.ZodOptional<z.ZodArray<z.ZodString>>;
  readonly issuer: z.ZodOptional<z.ZodString>;
  readonly condition: z.ZodOptional<z.ZodString>;
} = {
  users: NAMES.optional(),
  groups: NAMES.optional(),
  servicePrincipals: NAMES.optional(),
  issuer: z.string().min(1).max(1_024).optional(),
  condition: z
    .string()
    .max(MAX_CONDITION)
    .superRefine((source, context) => {
      const problem = problemOfCondition(source);
      if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
    })
    .optional(),
};

/** Adds the faults of the fields' combination. A claim means something only for the issuer that wrote it. */
export function checkSubject(
  spec: SubjectSpec,
  context: { addIssue(issue: { code: "custom"; path: string[]; message: string }): void },
): void {
  const { users = [], groups = [], servicePrincipals = [], issuer, condition } = spec;
  const fail = (path: string, message: string): void => context.addIssue({ code: "custom", path: [path], message });
  if (users.length + groups.length + servicePrincipals.length === 0 && condition === undefined) {
    fail("users", "expected users, groups, servicePrincipals or a condition");
  }
  if (issuer !== undefined) return;
  if (servicePrincipals.length > 0) fail("issuer", "is required with servicePrincipals");
  if (condition !== undefined) fail("issuer", "is required with condition");
}

/** @throws ConnectError `CC_CONFIG_INVALID` for a condition that does not compile. */
export function compileSubject(spec: SubjectSpec): Subject {
  const { users = [], groups = [], servicePrincipals = [], issuer } = spec;
  const condition = spec.condition === undefined ? undefined : compileExpression(spec.condition, "claims");
  const nobody = users.length + groups.length + servicePrincipals.length === 0;
  return {
    names(principal) {
      if (nobody) return "its claims";
      if (users.includes(principal.username)) return `user ${principal.username}`;
      const group = principal.groups.find((name) => groups.includes(name));
      if (group !== undefined) return `group ${group}`;
      const client = ownClientIds(principal).find((id) => servicePrincipals.includes(id));
      return client === undefined ? undefined : `service principal ${client}`;
    },
    holds(principal) {
      if (issuer !== undefined && principal.issuer !== issuer)
        return { ok: false, text: `the issuer is not ${issuer}` };
      if (condition === undefined || isTrue(condition, principal)) return { ok: true };
      return { ok: false, text: "its condition about the token's claims does not hold" };
    },
  };
}

/**
 * Names of a program that acts for itself. A person's token names the program that it was given to in the same claims,
 * so they count only where the token's subject is the program: `sub` is the client's own id, or Entra says so.
 */
function ownClientIds({ subject, claims }: Principal): readonly string[] {
  const text = (name: string): string | undefined => {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
    return typeof value === "string" ? value : undefined;
  };
  const clients = ["azp", "appid", "client_id"].flatMap((name) => text(name) ?? []);
  return clients.includes(subject) || isEntraApp(subject, text) ? [subject, ...clients] : [];
}

/** The `sub` of a person's token is made for person and app together, an app's own is its object id. */
function isEntraApp(subject: string, text: (name: string) => string | undefined): boolean {
  if (text("tid") === undefined) return false;
  return text("idtyp") === "app" || (text("scp") === undefined && text("oid") === subject);
}

/** A condition that cannot be evaluated does not hold. */
function isTrue(condition: Expression, { claims }: Principal): boolean {
  try {
    return condition.evaluate(claims) === true;
  } catch {
    return false;
  }
}

function problemOfCondition(source: string): string | undefined {
  try {
    const { type } = compileExpression(source, "claims");
    return type === "bool" ? undefined : "must be of type bool; compare the value, as in == true";
  } catch (error) {
    return toConnectError(error).message;
  }
}
