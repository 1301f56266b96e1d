import { ConnectError } from "@cluster-connect/protocol";
import { type ApiserverClient, fieldOf } from "../apiserver/client.ts";
import { excessPrivileges } from "./excess.ts";
import { expectedRules, type PolicyRule, type PrivilegeNeeds } from "./rbac.ts";

/** Findings of the check. */
export interface SelfCheckReport {
  /** Lines such as `impersonate users`. */
  readonly missing: readonly string[];
  readonly excess: readonly string[];
  /** Whether the apiserver could list every rule; where it could not, single questions alone were asked. */
  readonly complete: boolean;
}

interface Question {
  readonly verb: string;
  readonly group?: string;
  readonly resource?: string;
  readonly subresource?: string;
  readonly name?: string;
  readonly namespace?: string;
  readonly path?: string;
}

const RULES_PATH = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
const ACCESS_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/** Asked one by one, because rules in other namespaces and of other authorizers cannot be listed. */
const MUST_NOT: readonly Question[] = [
  { verb: "*", group: "*", resource: "*" },
  { verb: "*", path: "/*" },
  { verb: "get", resource: "secrets" },
  { verb: "list", resource: "secrets" },
  { verb: "get", resource: "secrets", namespace: "kube-system" },
  { verb: "get", resource: "namespaces" },
  { verb: "get", resource: "pods" },
  { verb: "list", resource: "pods" },
  { verb: "create", resource: "pods" },
  { verb: "create", resource: "pods", namespace: "kube-system" },
  { verb: "create", resource: "pods", subresource: "exec" },
  { verb: "get", resource: "nodes", subresource: "proxy" },
  { verb: "create", resource: "serviceaccounts", subresource: "token" },
  { verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings" },
  { verb: "update", group: "rbac.authorization.k8s.io", resource: "clusterroles" },
  { verb: "escalate", group: "rbac.authorization.k8s.io", resource: "clusterroles" },
  { verb: "bind", group: "rbac.authorization.k8s.io", resource: "clusterroles" },
  { verb: "create", group: "certificates.k8s.io", resource: "certificatesigningrequests" },
  { verb: "create", group: "admissionregistration.k8s.io", resource: "mutatingwebhookconfigurations" },
];
const LEGACY_VERB: readonly Question[] = [
  { verb: "impersonate", resource: "users" },
  { verb: "impersonate", resource: "groups" },
  { verb: "impersonate", resource: "serviceaccounts" },
  { verb: "impersonate", group: "authentication.k8s.io", resource: "uids" },
];

/**
 * Compares the privileges of our account with the expected ones.
 *
 * @param options.namespaces Namespaces whose rules are listed: our own and those where the most is at stake.
 * @throws ConnectError `CC_APISERVER_UNREACHABLE` when the apiserver does not answer.
 */
export async function checkPrivileges(
  needs: PrivilegeNeeds,
  options: {
    readonly namespaces: readonly string[];
    readonly tolerated: readonly string[];
    readonly signal: AbortSignal;
  },
  apiserver: ApiserverClient,
): Promise<SelfCheckReport> {
  const { signal } = options;
  const ask = (question: Question): Promise<boolean> => isAllowed(question, apiserver, signal);
  const expected = expectedRules(needs);
  const reviews = await Promise.all(options.namespaces.map((name) => listRules(name, apiserver, signal)));
  const listed = excessPrivileges(
    reviews.flatMap(({ rules }) => rules),
    expected,
    options.tolerated,
  );
  const legacy = needs.mode === "constrained" ? LEGACY_VERB : [];
  const forbidden = [...MUST_NOT, ...legacy, ...beyondNames(expected)];
  const granted = await filterAllowed(forbidden, true, ask);
  const missing = await filterAllowed(neededQuestions(expected), false, ask);
  return {
    missing: missing.map(lineOf),
    excess: [...new Set([...listed, ...granted.map(lineOf)])].filter((line) => !options.tolerated.includes(line)),
    complete: reviews.every(({ complete }) => complete),
  };
}

/** @throws ConnectError `CC_PRIVILEGE_TOO_WIDE` or `CC_IMPERSONATION_DENIED` naming the excess or the gap. */
export function assertPrivileges(report: SelfCheckReport): void {
  if (report.excess.length > 0) {
    throw new ConnectError("CC_PRIVILEGE_TOO_WIDE", `The auth proxy's account may do too much: ${few(report.excess)}`);
  }
  if (report.missing.length > 0) {
    throw new ConnectError("CC_IMPERSONATION_DENIED", `The auth proxy's account lacks rights: ${few(report.missing)}`);
  }
}

/** Whether the account has the verb that begins constrained impersonation. */
export function hasConstrainedVerb(apiserver: ApiserverClient, signal: AbortSignal): Promise<boolean> {
  // Users may be limited to some names, and a question without a name is about all of them.
  const question = { verb: "impersonate:user-info", group: "authentication.k8s.io", resource: "uids" };
  return isAllowed(question, apiserver, signal);
}

/** One question for each thing that is to be impersonated or reviewed; a wildcard cannot be asked for. */
function neededQuestions(expected: readonly PolicyRule[]): readonly Question[] {
  return expected.flatMap(({ apiGroups = [], resources = [], resourceNames, verbs }) =>
    resources
      .filter((resource) => !resource.includes("*"))
      .flatMap((resource) => {
        const slash = resource.indexOf("/");
        const parts =
          slash < 0 ? { resource } : { resource: resource.slice(0, slash), subresource: resource.slice(slash + 1) };
        const names = resourceNames === undefined ? [{}] : resourceNames.map((name) => ({ name }));
        return apiGroups.flatMap((group) =>
          verbs.flatMap((verb) => names.map((named): Question => ({ verb, group, ...parts, ...named }))),
        );
      }),
  );
}

/** Asks without a name for rules expected for some names alone: a list of rules does not tell the two apart. */
function beyondNames(expected: readonly PolicyRule[]): readonly Question[] {
  const limited = expected.filter(({ resourceNames }) => resourceNames !== undefined);
  return neededQuestions(limited.map(({ resourceNames: _names, ...rule }) => rule));
}

async function filterAllowed(
  questions: readonly Question[],
  allowed: boolean,
  ask: (question: Question) => Promise<boolean>,
): Promise<readonly Question[]> {
  const answers = await Promise.all(questions.map(async (question) => ({ question, is: await ask(question) })));
  return answers.filter(({ is }) => is === allowed).map(({ question }) => question);
}

async function isAllowed(question: Question, apiserver: ApiserverClient, signal: AbortSignal): Promise<boolean> {
  const { path, ...resourceAttributes } = question;
  const spec = path === undefined ? { resourceAttributes } : { nonResourceAttributes: { verb: question.verb, path } };
  const review = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec };
  const answer = await apiserver.create(ACCESS_PATH, review, { signal });
  return fieldOf(answer, "status", "allowed") === true;
}

async function listRules(
  namespace: string,
  apiserver: ApiserverClient,
  signal: AbortSignal,
): Promise<{ readonly rules: readonly PolicyRule[]; readonly complete: boolean }> {
  const review = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectRulesReview", spec: { namespace } };
  const status = fieldOf(await apiserver.create(RULES_PATH, review, { signal }), "status");
  const rules = [...listOf(fieldOf(status, "resourceRules")), ...listOf(fieldOf(status, "nonResourceRules"))];
  return { rules: rules.map(parseRule), complete: fieldOf(status, "incomplete") !== true };
}

function parseRule(value: unknown): PolicyRule {
  return {
    apiGroups: texts(fieldOf(value, "apiGroups")),
    resources: texts(fieldOf(value, "resources")),
    resourceNames: texts(fieldOf(value, "resourceNames")),
    nonResourceURLs: texts(fieldOf(value, "nonResourceURLs")),
    verbs: texts(fieldOf(value, "verbs")),
  };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function texts(value: unknown): readonly string[] {
  return listOf(value).filter((entry) => typeof entry === "string");
}

function lineOf({ verb, group = "", resource, subresource, name, namespace, path }: Question): string {
  if (path !== undefined) return `${verb} ${path}`;
  const whole = subresource === undefined ? resource : `${resource}/${subresource}`;
  const where = namespace === undefined ? "" : ` in ${namespace}`;
  return `${verb} ${whole}${group === "" ? "" : `.${group}`}${name === undefined ? "" : ` ${name}`}${where}`;
}

function few(lines: readonly string[]): string {
  const shown = lines.slice(0, 8).join(", ");
  return lines.length > 8 ? `${shown} and ${lines.length - 8} more` : shown;
}
