import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { pollUntil } from "../../src/process/poll.ts";
import type { Person } from "../support/stack.ts";
import { kubectlOver, newName, PROTOCOLS, startPod, useNodeStack } from "./support/node-stack.ts";

const TOKEN_SECONDS = 25;
const GRACE_MS = 15_000;
const LOGGED_MS = 60_000;

const suite = useNodeStack({ accessTokenSeconds: TOKEN_SECONDS });
let admin: Person;

beforeAll(async () => {
  admin = await suite().signIn("admin");
});

test.concurrent.each(PROTOCOLS)(
  "an exec over $name ends with its caller's token, and both kubectl and the log say why",
  async (protocol) => {
    const { keeper, tools, folder, stack } = suite();
    const kubectl = kubectlOver(protocol, admin, suite());
    const pod = newName("expiring");
    await startPod(kubectl, pod);
    const from = performance.now();
    const exec = await keeper.start({
      name: "exec",
      command: tools.kubectl,
      args: ["exec", pod, "--", "sleep", "600"],
      env: kubectl.env,
      cwd: folder,
      logPath: join(folder, `${pod}.log`),
    });
    const { code } = await exec.ended;
    const ms = performance.now() - from;
    const screen = await readFile(exec.logPath, "utf8");
    expect(code).toBe(1);
    expect(screen).toContain("The caller's token has expired while the stream was open");
    expect(ms).toBeLessThan(TOKEN_SECONDS * 1_000 + GRACE_MS);
    // A stream is logged when it is over on both sides, which may be a moment after kubectl.
    const logged = await pollUntil(
      async () => {
        const events = await stack.authProxy.logEvents();
        return events.find((event) => event["name"] === pod && event["subresource"] === "exec");
      },
      { signal: AbortSignal.timeout(LOGGED_MS) },
    );
    expect(logged).toMatchObject({ status: 101, verb: protocol.verb, code: "CC_TOKEN_EXPIRED" });
  },
);
