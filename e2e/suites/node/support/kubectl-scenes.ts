import { expect, test } from "vitest";
import { NODE_IMAGE } from "../../../src/cluster/node/image.ts";
import type { RunResult } from "../../../src/process/run-to-end.ts";
import { IMAGE_FLAGS } from "./node-stack.ts";
import { expectSame, type Route } from "./routes.ts";
import { openTerminal } from "./terminal.ts";

const INPUT = "through\nand back\n";

/** @param pod that is ready. */
const ANSWERS: Readonly<Record<string, (pod: string) => readonly string[]>> = {
  "top of pods, without metrics": () => ["top", "pods"],
  "top of nodes, without metrics": () => ["top", "nodes"],
  "wait for what is so already": (pod) => ["wait", "--for=condition=Ready", `pod/${pod}`, "--timeout=30s"],
  "wait for what does not come": (pod) => ["wait", "--for=delete", `pod/${pod}`, "--timeout=1s"],
  "wait for a value": (pod) => ["wait", "--for=jsonpath={.status.phase}=Running", `pod/${pod}`],
  "rollout status of a Deployment": () => ["rollout", "status", "deployment/rolled"],
  "rollout status of what there is not": () => ["rollout", "status", "deployment/none"],
  "rollout history": () => ["rollout", "history", "deployment/rolled"],
  "a pod that there is not": () => ["exec", "none", "--", "true"],
  "logs of a container that there is not": (pod) => ["logs", pod, "-c", "none"],
};

/** Commands without a stream: the same answer as without us. */
export function answerScenes(routes: () => readonly Route[], pod: string): void {
  test.each(Object.entries(ANSWERS))("%s is answered as by the kube-apiserver itself", async (_name, args) => {
    await expectSame(routes(), async (route) => [await route.run(args(pod))]);
  });
}

const succeed = async (route: Route, args: readonly string[], input?: string): Promise<RunResult> => {
  const done = await route.run(args, input);
  expect(done).toMatchObject({ code: 0 });
  return done;
};

/** Commands with a stream, over the protocol of the routes. */
export function streamScenes(routes: () => readonly Route[], prefix: string): void {
  test.each([0, 1, 42, 255])("exec ends with the command's code %i", async (code) => {
    const script = `echo out; echo err >&2; cat; exit ${code}`;
    const [done] = await expectSame(routes(), async (route) => [
      await route.run(["exec", "-i", prefix, "--", "sh", "-c", script], INPUT),
    ]);
    expect(done).toMatchObject({ code, stdout: `out\n${INPUT}` });
  });

  test("attach gives a waiting process its input, and its end", async () => {
    const [done] = await expectSame(routes(), async (route) => {
      const name = `${prefix}-attach-${route.name}`;
      await succeed(route, ["create", "-f", "-"], listener(name));
      await succeed(route, ["wait", "--for=condition=Ready", `pod/${name}`, "--timeout=180s"]);
      return [await route.run(["attach", "-i", name], INPUT)];
    });
    expect(done).toMatchObject({ code: 0, stdout: "heard through\nheard and back\n" });
  });

  // Without a terminal kubectl itself loses what a container says before it is attached, now and then.
  test("debug is a shell in a new container of the pod, and in a copy of it", async () => {
    const results = await expectSame(routes(), async (route) => {
      const name = `${prefix}-debug-${route.name}`;
      await succeed(route, ["run", name, ...IMAGE_FLAGS]);
      await succeed(route, ["wait", "--for=condition=Ready", `pod/${name}`, "--timeout=180s"]);
      const how = `-it --profile=general --image=${NODE_IMAGE} -c debugger`;
      await converse(route, `kubectl debug ${name} ${how} -- sh`);
      await converse(route, `kubectl debug ${name} ${how} --copy-to=${name}-copy -- sh`);
      const listed = (pod: string, field: string): Promise<RunResult> =>
        route.run(["get", "pod", pod, "-o", `jsonpath={.spec.${field}[*].name}`]);
      return [await listed(name, "ephemeralContainers"), await listed(`${name}-copy`, "containers")];
    });
    expect(results.map(({ stdout }) => stdout)).toEqual(["debugger", `${prefix}-debug-ROUTE debugger`]);
  });
}

/** A pod that repeats what it hears, and ends with it. */
function listener(name: string): string {
  const command = ["sh", "-c", 'while read line; do echo "heard $line"; done'];
  const container = {
    name: "main",
    image: NODE_IMAGE,
    imagePullPolicy: "Never",
    stdin: true,
    stdinOnce: true,
    command,
  };
  const spec = { restartPolicy: "Never", containers: [container] };
  return JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name }, spec });
}

/** Says something in a shell and leaves it. */
async function converse(route: Route, command: string): Promise<void> {
  const terminal = await openTerminal(command, route.env);
  await terminal.shows(/# /);
  terminal.type("echo $((6 * 7)) times\n");
  await terminal.shows(/42 times/);
  terminal.type("exit 3\n");
  // kubectl debug does not end with the shell's code.
  expect(await terminal.ended).toBe(0);
}
