import { beforeAll, expect, test } from "vitest";
import { pollUntil } from "../../src/process/poll.ts";
import { expectWithin } from "../support/reliability/promise.ts";
import { type Person, useStack } from "../support/stack.ts";

const suite = useStack();
let viewer: Person;

beforeAll(async () => {
  viewer = await suite().signIn("viewer");
});

const LIMIT_MS = 2_000;
const DEADLINE_MS = 60_000;
const GET = ["get", "namespaces"];

async function timed(args: readonly string[]): Promise<{ readonly code: number | null; readonly ms: number }> {
  const from = performance.now();
  const { code } = await viewer.run("kubectl", args);
  return { code, ms: performance.now() - from };
}

const screenSays = (pattern: RegExp): Promise<string> =>
  pollUntil(async () => pattern.exec(await viewer.proxy.screen())?.[0], { signal: AbortSignal.timeout(DEADLINE_MS) });

const works = (): Promise<boolean> =>
  pollUntil(async () => ((await timed(GET)).code === 0 ? true : undefined), {
    signal: AbortSignal.timeout(DEADLINE_MS),
  });

test("without its agent kubectl hears so within 2 s, and the proxy's screen names the agent", async () => {
  const { agent } = suite().stack;
  expect(await timed(GET)).toMatchObject({ code: 0 });
  await agent.stop();
  const { code, ms } = await timed(GET);
  expect(code).not.toBe(0);
  await expectWithin("kubectl without an agent", LIMIT_MS, ms);
  await screenSays(/agent.*CC_AGENT_OFFLINE/);
  await agent.start();
  await works();
});

test("a command is told that the agent is missing, with the code's exit status", async () => {
  const { agent } = suite().stack;
  await agent.stop();
  const run = await viewer.cli.run(["run", "-n", "demo", "--wait", "1s", "--", "true"]);
  expect(run.code).not.toBe(0);
  expect(run.stderr).toMatch(/error: .*agent/i);
  await agent.start();
  await works();
});

test("an agent that was killed comes back under the same identity", async () => {
  const { agent, relay } = suite().stack;
  agent.program?.signal("SIGKILL");
  await agent.program?.ended;
  expect(await timed(GET)).toMatchObject({ code: 1 });
  await agent.start();
  await works();
  expect(relay.program.pid).toBeGreaterThan(0);
});
