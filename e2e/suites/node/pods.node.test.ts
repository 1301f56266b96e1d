import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { NODE_IMAGE } from "../../src/cluster/node/image.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { missingForGoClient, startGoScene } from "../../src/stack/go-scene.ts";
import { fastestMs } from "../support/fastest.ts";
import type { Person } from "../support/stack.ts";
import {
  expectStreams,
  IMAGE_FLAGS,
  type Kubectl,
  kubectlOver,
  newName,
  PROTOCOLS,
  startPod,
  useNodeStack,
} from "./support/node-stack.ts";
import { openTerminal } from "./support/terminal.ts";

const suite = useNodeStack();
let admin: Person;
let viewer: Person;

beforeAll(async () => {
  admin = await suite().signIn("admin");
  viewer = await suite().signIn("viewer");
});

const MIB = 1_048_576;
const INPUT_BYTES = 8 * MIB;
const INPUTS = 10;
const COPY_BYTES = 100 * MIB;
const WAIT_MS = 60_000;
/** The byte that Ctrl-D types. */
const END_OF_INPUT = "\u0004";

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

const digest = (text: string): string => createHash("sha256").update(text).digest("hex");

describe.each(PROTOCOLS)("over $name", (protocol) => {
  const pod = newName("pod");
  let kubectl: Kubectl;

  beforeAll(async () => {
    kubectl = kubectlOver(protocol, admin, suite());
    await startPod(kubectl, pod);
  });

  test.each([0, 1, 42, 255])("exec ends with the command's code %i", async (code) => {
    const done = await kubectl.run(["exec", pod, "--", "sh", "-c", `echo out; echo err >&2; exit ${code}`]);
    expect(done).toMatchObject({ code, stdout: "out\n" });
    expect(done.stderr).toContain("err\n");
  });

  test("exec -i ends with its input and returns all output, each time", async () => {
    const input = randomBytes((INPUT_BYTES * 3) / 4).toString("base64");
    for (let turn = 0; turn < INPUTS; turn++) {
      const output = await kubectl.succeed(["exec", "-i", pod, "--", "cat"], input);
      expect(output.length).toBe(input.length);
      expect(digest(output)).toBe(digest(input));
    }
  });

  test("exec -it is a terminal with the person's size, also after a resize, and the shell's exit code", async () => {
    const command = `stty rows 31 cols 91; kubectl exec -it ${pod} -- sh`;
    const terminal = await openTerminal(command, kubectl.env);
    await terminal.shows(/# /);
    terminal.type("stty size\n");
    await terminal.shows(/31 91/);
    await terminal.resize(42, 132);
    await pollUntil(
      async () => {
        terminal.type("stty size\n");
        return terminal.shown().includes("42 132") ? true : undefined;
      },
      { signal: AbortSignal.timeout(WAIT_MS), intervalMs: 200 },
    );
    terminal.type("exit 7\n");
    expect(await terminal.ended).toBe(7);
  });

  test("attach gives a waiting process its input and shows what it says, line by line", async () => {
    const name = newName("attached");
    const spec = { containers: [{ name, image: NODE_IMAGE, stdin: true, stdinOnce: true }] };
    await kubectl.succeed([
      ...["run", name, ...IMAGE_FLAGS, "--restart=Never", `--overrides=${JSON.stringify({ spec })}`],
      ...["--override-type=strategic", "--command", "--", "sh", "-c", 'while read line; do echo "heard $line"; done'],
    ]);
    await kubectl.succeed(["wait", "--for=condition=Ready", `pod/${name}`, "--timeout=180s"]);
    const terminal = await openTerminal(`kubectl attach -i ${name}`, kubectl.env);
    for (const word of ["one", "two"]) {
      terminal.type(`${word}\n`);
      await terminal.shows(new RegExp(`heard ${word}`));
    }
    terminal.type(END_OF_INPUT);
    expect(await terminal.ended).toBe(0);
    await expectStreams(suite(), name, protocol, 1);
  });

  test("cp of 100 MiB there and back leaves every byte as it was", async () => {
    const { folder } = suite();
    const [there, back] = [join(folder, `${pod}-there`), join(folder, `${pod}-back`)];
    await writeFile(there, randomBytes(COPY_BYTES));
    const expected = await sha256Of(there);
    const from = performance.now();
    await kubectl.succeed(["cp", there, `${pod}:/tmp/copy`]);
    const middle = performance.now();
    expect(await kubectl.succeed(["exec", pod, "--", "sha256sum", "/tmp/copy"])).toBe(`${expected}  /tmp/copy\n`);
    const again = performance.now();
    await kubectl.succeed(["cp", `${pod}:/tmp/copy`, back]);
    const rates = [middle - from, performance.now() - again].map((ms) => Math.round(100_000 / ms));
    process.stderr.write(`cp of 100 MiB over ${protocol.name}: ${rates.join(" MiB/s there, ")} MiB/s back\n`);
    expect(await sha256Of(back)).toBe(expected);
  });

  test("a viewer may not exec, and is told so", async () => {
    const done = await kubectlOver(protocol, viewer, suite()).run(["exec", pod, "--", "true"]);
    expect(done.code).toBe(1);
    expect(done.stderr).toContain('User "demo:viewer" cannot');
  });

  test("debug -it is a shell in a new container of the pod", async () => {
    const command = `kubectl debug -it ${pod} --profile=general --image=${NODE_IMAGE} -- sh`;
    const terminal = await openTerminal(command, kubectl.env);
    await terminal.shows(/# /);
    terminal.type("echo $((6 * 7)) times\n");
    await terminal.shows(/42 times/);
    terminal.type("exit\n");
    expect(await terminal.ended).toBe(0);
  });

  test("it really was this protocol, each time", () => expectStreams(suite(), pod, protocol, 1));
});

test("logs -f shows what the pod says while it says it, and ends with the pod", async () => {
  const { keeper, tools, folder } = suite();
  const kubectl = kubectlOver(PROTOCOLS[0] ?? expect.fail(), admin, suite());
  const name = newName("speaker");
  await startPod(kubectl, name);
  const logs = await keeper.start({
    name: "logs",
    command: tools.kubectl,
    args: ["logs", "-f", name],
    env: kubectl.env,
    cwd: folder,
    logPath: join(folder, "logs.log"),
  });
  const say = (word: string): Promise<string> =>
    kubectl.succeed(["exec", name, "--", "sh", "-c", `echo ${word} > /proc/1/fd/1`]);
  for (const word of ["first", "second"]) {
    await say(word);
    await pollUntil(async () => ((await readFile(logs.logPath, "utf8")).endsWith(`${word}\n`) ? true : undefined), {
      signal: AbortSignal.timeout(WAIT_MS),
    });
  }
  await kubectl.succeed(["delete", "pod", name, "--grace-period=1"]);
  expect(await logs.ended).toEqual({ code: 0, signal: null });
});

const missing = await missingForGoClient();
const WATCHES = 1_000;
const EXECS = 100;
/** A request beside them may take so many times longer than without: other suites run meanwhile. */
const MUCH_SLOWER = 4;

test.skipIf(missing !== undefined)(
  `1,000 watches and 100 execs of one person stay, and a get beside them is as fast as without${missing === undefined ? "" : `: ${missing}`}`,
  async () => {
    const [protocol] = PROTOCOLS;
    if (protocol === undefined) throw new Error("there is no protocol");
    const kubectl = kubectlOver(protocol, admin, suite());
    const pod = newName("crowd");
    await startPod(kubectl, pod);
    const get = (): Promise<string> => kubectl.succeed(["get", "configmaps"]);
    const alone = await fastestMs(get);
    const { env } = kubectl;
    await using watches = await startGoScene({ scene: "watches", count: WATCHES, env }, suite());
    expect(await watches.fact()).toMatchObject({ open: WATCHES });
    await using execs = await startGoScene({ scene: "execs", count: EXECS, pod, env }, suite());
    expect(await execs.fact()).toMatchObject({ open: EXECS });
    const beside = await fastestMs(get);
    for (const name of ["first", "second"]) {
      await kubectl.succeed(["create", "configmap", `${pod}-${name}`]);
      watches.tell(`${pod}-${name}`);
      execs.tell(name);
      expect(await watches.fact()).toEqual({ seen: `${pod}-${name}`, by: WATCHES });
      expect(await execs.fact()).toEqual({ seen: name, by: EXECS });
    }
    process.stderr.write(`get beside the crowd: ${beside.toFixed(0)} ms, alone ${alone.toFixed(0)} ms\n`);
    expect(beside).toBeLessThan(alone * MUCH_SLOWER);
    await execs.end();
    await watches.end();
    await expectStreams(suite(), pod, protocol, EXECS);
  },
);
