import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { createAuthority } from "../../../src/cluster/control-plane/certificates.ts";
import { pollUntil } from "../../../src/process/poll.ts";
import { runToEnd } from "../../../src/process/run-to-end.ts";
import { makeEnrollmentCode } from "../../../src/stack/relay.ts";
import { repositoryFile } from "../../../src/stack/repository-file.ts";
import { NO_END } from "../../support/stack.ts";
import { CHART, type ChartStack } from "./chart-stack.ts";

/** A fault of an installation, and the words of its pods about it. */
interface Fault {
  /** Of the cluster and of the namespace. */
  readonly name: string;
  /** Values beside those of a whole installation, for `--set`. */
  readonly values: (stack: ChartStack, code: string) => Promise<readonly string[]> | readonly string[];
  /** Beginning of kind and name of an object that is not installed. */
  readonly without?: string;
  /** Component and container that say it; those of the enrollment by default. */
  readonly said?: readonly [string, string];
  readonly line: RegExp;
  /** The next step for the person, in the same line or the next. */
  readonly hint: RegExp;
}

const RELEASE = "fault";
const WAIT_MS = 300_000;
/** An address for documentation, which nothing gets through to. */
const NOWHERE = "192.0.2.1";
const withCode = (code: string): readonly string[] => [`enrollment.code=${code}`];
const A_NEW_CODE = /Make a new code with `cluster-connect-relay enroll`/;
const THE_WAY_OUT = /Check relay\.url, what the pods may dial/;

const FAULTS: Readonly<Record<string, Fault>> = {
  "a code that no relay made": {
    name: "wrong-code",
    values: () => withCode("cc1-wrong"),
    line: /CC_ENROLLMENT_CODE_INVALID/,
    hint: A_NEW_CODE,
  },
  "a code that was used before": {
    name: "used-code",
    values: async (stack, code) => {
      await enrollElsewhere(stack, code);
      return withCode(code);
    },
    line: /CC_ENROLLMENT_CODE_INVALID/,
    hint: A_NEW_CODE,
  },
  "a code that has expired": {
    name: "expired-code",
    values: async ({ folder }) => {
      const made = await makeEnrollmentCode(join(folder, "relay"), "relay", "expired-code", NO_END, [
        "--expires",
        "1s",
      ]);
      return withCode(made);
    },
    line: /CC_ENROLLMENT_CODE_INVALID/,
    hint: A_NEW_CODE,
  },
  "a code for another cluster": {
    name: "other-code",
    values: async ({ relay }) => withCode(await relay.enrollmentCode("another", { signal: NO_END })),
    line: /another.*CC_ENROLLMENT_CODE_INVALID/,
    hint: A_NEW_CODE,
  },
  "a relay's name that nobody knows": {
    name: "unknown-relay",
    values: (_stack, code) => [...withCode(code), "relay.url=https://relay.invalid"],
    line: /relay\.invalid cannot be reached: (E|no answer after)/,
    hint: THE_WAY_OUT,
  },
  "a relay that refuses the dial": {
    name: "closed-relay",
    values: (_stack, code) => [...withCode(code), "relay.url=https://127.0.0.1:9"],
    line: /127\.0\.0\.1:9 cannot be reached: ECONNREFUSED/,
    hint: THE_WAY_OUT,
  },
  "a network that lets nothing through": {
    name: "blocked-network",
    values: (_stack, code) => [...withCode(code), `relay.url=https://${NOWHERE}`],
    line: /192\.0\.2\.1 cannot be reached: (no answer after|E)/,
    hint: THE_WAY_OUT,
  },
  "a relay whose authority is another": {
    name: "untrusted-relay",
    values: async (_stack, code) => {
      const { certPem } = await createAuthority("another", { now: () => new Date() });
      return [...withCode(code), `relay.ca=${certPem}`];
    },
    line: /certificate of .* is not trusted/,
    hint: /relay\.ca/,
  },
  "an account of the Jobs that may not read its Secret": {
    name: "no-role",
    values: (_stack, code) => withCode(code),
    without: "RoleBinding ",
    said: ["enrollment", "read"],
    line: /CC_PERMISSION_MISSING/,
    hint: /administrator/,
  },
  "an auth proxy that may not impersonate": {
    name: "no-impersonation",
    values: (_stack, code) => withCode(code),
    without: "ClusterRoleBinding ",
    said: ["agent", "auth-proxy"],
    line: /CC_IMPERSONATION_DENIED/,
    hint: /Apply the impersonation role/,
  },
};

/** The code is spent by an agent that runs on this machine. */
async function enrollElsewhere({ folder, relay, caFile }: ChartStack, code: string): Promise<void> {
  const own = join(folder, "elsewhere");
  await mkdir(join(own, "state"), { recursive: true });
  const { certPem } = await createAuthority("elsewhere", { now: () => new Date() });
  await writeFile(join(own, "authorities.crt"), certPem);
  const config = {
    relay: { urls: [relay.url], caFile },
    stateDir: join(own, "state"),
    authProxy: {
      address: "127.0.0.1:9",
      healthUrl: "http://127.0.0.1:9",
      authoritiesFile: join(own, "authorities.crt"),
    },
  };
  await writeFile(join(own, "agent.yaml"), JSON.stringify(config));
  const main = ["--conditions=source", repositoryFile("apps/agent/src/main.ts")];
  const args = [...main, "enroll", "--config", join(own, "agent.yaml")];
  const env = { HOME: own, CC_CODE: code };
  expect(await runToEnd(process.execPath, args, { env, signal: NO_END, cwd: own })).toMatchObject({ code: 0 });
}

/** The chart's objects but one, as helm would install them. */
async function install(stack: ChartStack, fault: Fault, values: readonly string[]): Promise<void> {
  const { kubectl, helm } = stack;
  const version: { readonly gitVersion: string } = JSON.parse(await kubectl(["get", "--raw", "/version"]));
  const sets = [`global.resourceName=${fault.name}`, "replicas=1", ...values].flatMap((value) => ["--set", value]);
  const rendered = await helm([
    ...["template", RELEASE, CHART, "--namespace", fault.name, "--kube-version", version.gitVersion],
    ...["--no-hooks", "--values", await stack.values(), ...sets],
  ]);
  expect(rendered).toMatchObject({ code: 0 });
  const objects = parseAllDocuments(rendered.stdout).map((document): Rendered | null => document.toJS());
  const wanted = objects.filter((object) => object !== null && !`${object.kind} `.startsWith(fault.without ?? "none"));
  await kubectl(["create", "namespace", fault.name]);
  await kubectl(["apply", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items: wanted }));
}

interface Rendered {
  readonly kind: string;
}

/** Each fault is told where a person looks first: in the pod's log. */
export function faultScenes(stack: () => ChartStack): void {
  test.concurrent.each(Object.entries(FAULTS))(
    "%s is said in one line of the pod's log, with what to do",
    async (_name, fault) => {
      const { kubectl, relay } = stack();
      const code = await relay.enrollmentCode(fault.name, { signal: NO_END });
      await install(stack(), fault, await fault.values(stack(), code));
      const [component, container] = fault.said ?? ["enrollment", "enroll"];
      const which = ["-l", `app.kubernetes.io/component=${component}`, "-c", container, "--tail=-1"];
      const found = await pollUntil(
        async () => {
          const lines = (await kubectl(["-n", fault.name, "logs", ...which]).catch(() => "")).split("\n");
          const at = lines.findIndex((line) => fault.line.test(line));
          return at === -1 ? undefined : lines.slice(at, at + 2).join("\n");
        },
        { signal: AbortSignal.timeout(WAIT_MS), intervalMs: 500 },
      );
      process.stderr.write(`${fault.name}: ${found}\n`);
      expect(found).toMatch(fault.hint);
      await kubectl(["delete", "namespace", fault.name, "--wait=false"]);
    },
  );
}
