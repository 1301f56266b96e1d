import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { findTools } from "../../../src/cluster/binaries/tools.ts";
import { NODE_IMAGE } from "../../../src/cluster/node/image.ts";
import { provideWithPods } from "../../../src/cluster/provide-with-pods.ts";
import { createProgress } from "../../../src/process/progress.ts";
import { type RunResult, runToEnd } from "../../../src/process/run-to-end.ts";
import type { StackOptions } from "../../../src/stack/stack.ts";
import { NO_END, type Person, type SuiteStack, useStack } from "../../support/stack.ts";

/** Starts a stack on a Kubernetes with a node before the file's tests and ends it after them. */
export function useNodeStack(options: Pick<StackOptions, "accessTokenSeconds"> = {}): () => SuiteStack {
  return useStack(async ({ keeper }) => {
    const { env, platform, arch } = process;
    const progress = createProgress(process.stderr, { now: () => performance.now() });
    const tools = await findTools({ signal: NO_END }, { env, platform, arch, progress });
    const host = { platform, arch, uid: process.getuid?.() };
    const deps = { keeper, tools, env, progress, host, now: () => new Date() };
    return { ...options, startCluster: (own) => provideWithPods(own, deps) };
  });
}

const POLL = { timeout: 60_000, interval: 100 } as const;

/** How kubectl carries a stream inside HTTP. */
export interface StreamProtocol {
  readonly name: "WebSocket" | "SPDY";
  /** A WebSocket begins with GET, SPDY with POST; so the auth proxy's log shows which one it was. */
  readonly verb: "get" | "create";
  readonly env: Readonly<Record<string, string>>;
}

const chosen = (webSockets: boolean): Readonly<Record<string, string>> => ({
  KUBECTL_REMOTE_COMMAND_WEBSOCKETS: String(webSockets),
  KUBECTL_PORT_FORWARD_WEBSOCKETS: String(webSockets),
});

/** Both, each with streams of its own in the log. */
export const PROTOCOLS: readonly StreamProtocol[] = [
  { name: "WebSocket", verb: "get", env: chosen(true) },
  { name: "SPDY", verb: "create", env: chosen(false) },
];

/** A person's kubectl with one protocol. */
export interface Kubectl {
  readonly env: Readonly<Record<string, string>>;
  run(args: readonly string[], input?: string): Promise<RunResult>;
  /** Returns its output; any code but 0 fails the test. */
  succeed(args: readonly string[], input?: string): Promise<string>;
}

/** kubectl of a person over one protocol. */
export function kubectlOver(protocol: StreamProtocol, person: Person, suite: SuiteStack): Kubectl {
  const env = { ...person.cli.env, ...protocol.env, KUBECONFIG: person.proxy.kubeconfigPath };
  const run = (args: readonly string[], input?: string): Promise<RunResult> =>
    runToEnd(suite.tools.kubectl, args, {
      env,
      signal: NO_END,
      cwd: suite.folder,
      ...(input === undefined ? {} : { input }),
    });
  return {
    env,
    run,
    succeed: async (args, input) => {
      const done = await run(args, input);
      expect(done).toMatchObject({ code: 0 });
      return done.stdout;
    },
  };
}

/** Flags of `kubectl run` and `kubectl create` for the node's only image. */
export const IMAGE_FLAGS: readonly string[] = [`--image=${NODE_IMAGE}`, "--image-pull-policy=Never"];

/** A name that nothing else has. */
export const newName = (prefix: string): string => `${prefix}-${randomUUID().slice(0, 8)}`;

/** Starts a pod and waits until it is ready. */
export async function startPod(kubectl: Kubectl, name: string, command: readonly string[] = []): Promise<void> {
  const args = command.length === 0 ? [] : ["--command", "--", ...command];
  await kubectl.succeed(["run", name, ...IMAGE_FLAGS, ...args]);
  await kubectl.succeed(["wait", "--for=condition=Ready", `pod/${name}`, "--timeout=180s"]);
}

/** Expects that every upgraded stream to a pod was of this protocol, and that the auth proxy logged so many or more. */
export async function expectStreams(
  suite: SuiteStack,
  pod: string,
  protocol: StreamProtocol,
  atLeast: number,
): Promise<void> {
  const verbs = async (): Promise<readonly unknown[]> => {
    const events = await suite.stack.authProxy.logEvents();
    const streams = events.filter((event) => event["event"] === "request" && event["status"] === 101);
    return streams.filter((event) => event["name"] === pod).map((event) => event["verb"]);
  };
  // A stream is logged when it is over, which may be a moment after kubectl.
  await expect.poll(async () => (await verbs()).length, POLL).toBeGreaterThanOrEqual(atLeast);
  expect(new Set(await verbs())).toEqual(new Set([protocol.verb]));
}
