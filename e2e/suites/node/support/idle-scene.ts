import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { NODE_IMAGE } from "../../../src/cluster/node/image.ts";
import type { Program } from "../../../src/process/keeper.ts";
import { waitForLogText } from "../../../src/process/log-events.ts";
import { pollUntil } from "../../../src/process/poll.ts";
import { type RunResult, runToEnd } from "../../../src/process/run-to-end.ts";
import { NO_END } from "../../support/stack.ts";
import { restarts, usedTokens } from "./agent-pods.ts";
import { askMeanwhile } from "./asking.ts";
import type { ChartStack } from "./chart-stack.ts";
import { PROTOCOLS } from "./node-stack.ts";

/** Nothing is said for so long: beyond what idles out anywhere, and longer than a token of the shortest life. */
const LOGS_IDLE_MS = 10 * 60_000;
const FORWARD_IDLE_MS = 5 * 60_000;
const WAIT_MS = 60_000;
const ECHO_PORT = 7;
const POD = "idle";

/** Streams that say nothing for ten minutes, in which the account's token is replaced by the kubelet, and requests go on. */
export async function idleScene(stack: ChartStack, env: Readonly<Record<string, string>>): Promise<void> {
  const { tools, folder, keeper, kubectl } = stack;
  const person = (args: readonly string[]): Promise<RunResult> =>
    runToEnd(tools.kubectl, args, { env, signal: NO_END, cwd: folder });
  const start = (
    name: string,
    args: readonly string[],
    more: Readonly<Record<string, string>> = {},
  ): Promise<Program> =>
    keeper.start({
      name,
      command: tools.kubectl,
      args,
      env: { ...env, ...more },
      cwd: folder,
      logPath: join(folder, `${name}.log`),
    });
  await person(["run", POD, `--image=${NODE_IMAGE}`, "--image-pull-policy=Never"]);
  await person(["wait", "--for=condition=Ready", `pod/${POD}`, "--timeout=180s"]);
  await kubectl(["exec", POD, "--", "sh", "-c", `nc -ll -p ${ECHO_PORT} -e cat > /dev/null 2>&1 &`]);

  const logs = await start("idle-logs", ["logs", "-f", POD]);
  const say = (word: string): Promise<string> =>
    kubectl(["exec", POD, "--", "sh", "-c", `echo ${word} > /proc/1/fd/1`]);
  const heard = (word: string): Promise<true> =>
    pollUntil(async () => ((await readFile(logs.logPath, "utf8")).endsWith(`${word}\n`) ? true : undefined), {
      signal: AbortSignal.timeout(WAIT_MS),
    });
  await say("before");
  await heard("before");
  const executed = await Promise.all(
    PROTOCOLS.map(({ name, env: protocol }) =>
      start(`idle-exec-${name}`, ["exec", POD, "--", "sh", "-c", `sleep ${LOGS_IDLE_MS / 1_000}; echo over`], protocol),
    ),
  );
  const exchanges = await Promise.all(
    PROTOCOLS.map(async ({ name, env: protocol }) => {
      const forward = await start(`idle-forward-${name}`, ["port-forward", `pod/${POD}`, `:${ECHO_PORT}`], protocol);
      const said = await waitForLogText(forward, /127\.0\.0\.1:\d+/, { signal: AbortSignal.timeout(WAIT_MS) });
      const exchange = openEcho(Number(said.split(":")[1]));
      await exchange();
      return exchange;
    }),
  );
  const before = await usedTokens(stack);
  const { asked, failures } = await askMeanwhile(
    async () => {
      const [answer] = await Promise.all([person(["get", "namespace", "default", "-o", "name"]), delay(1_000)]);
      return answer;
    },
    async () => {
      await delay(FORWARD_IDLE_MS);
      await Promise.all(exchanges.map((exchange) => exchange()));
      await delay(LOGS_IDLE_MS - FORWARD_IDLE_MS);
      await say("after");
      await heard("after");
    },
  );
  const tokens = (await usedTokens(stack)).size - before.size;
  process.stderr.write(`idle for 10 minutes: ${asked} requests, ${failures.size} failures, ${tokens} further tokens\n`);
  expect([...failures]).toEqual([]);
  for (const program of executed) {
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(await readFile(program.logPath, "utf8")).toContain("over\n");
  }
  expect(tokens).toBeGreaterThan(0);
  expect(await restarts(stack)).toBe("0 0 0 0");
}

/** Sends a byte and waits for it, as often as it is called. */
function openEcho(port: number): () => Promise<void> {
  const socket = connect(port, "127.0.0.1");
  let answer = Promise.withResolvers<void>();
  socket.on("data", () => answer.resolve());
  socket.on("error", () => socket.destroy());
  socket.once("close", () => answer.reject(new Error("the forwarded connection ended")));
  return async () => {
    answer = Promise.withResolvers();
    socket.write("x");
    await answer.promise;
  };
}
