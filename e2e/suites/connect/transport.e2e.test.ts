import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SYSTEM_CLOCK, wait } from "@cluster-connect/base";
import type { MuxStream } from "@cluster-connect/framing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CUT } from "../../src/faults/cut.ts";
import type { Fault } from "../../src/faults/fault.ts";
import { HALF_OPEN } from "../../src/faults/half-open.ts";
import type { RawLink } from "../../src/faults/raw-link.ts";
import { STALL } from "../../src/faults/stall.ts";
import { startTransfer } from "../../src/faults/transfer.ts";
import type { Program } from "../../src/process/keeper.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { answers, atBaseline, ECHO, finish, useTransport } from "../support/transport.ts";

const transport = useTransport();
const { signal } = new AbortController();
let link: RawLink;
let watch: Program;

const MIB = 1_048_576;
const TRANSFER_BYTES = 1_024 * MIB;
const SHORT_TRANSFER_BYTES = 256 * MIB;
const IDLE_STREAMS = 50;
const SHOWN_TIMEOUT_MS = 60_000;

const shows = (text: string): Promise<boolean> =>
  pollUntil(async () => ((await readFile(watch.logPath, "utf8")).includes(text) ? true : undefined), {
    signal: AbortSignal.timeout(SHOWN_TIMEOUT_MS),
  });

const create = (name: string): Promise<string> =>
  transport().stack.kubectlAsAdmin(["create", "configmap", name, "-n", "default"]);

beforeAll(async () => {
  const { keeper, tools, folder, person, stack } = transport();
  const cli = await person("viewer");
  const proxy = await cli.proxy([stack.clusterId]);
  link = transport().link();
  // One kubectl for the whole file: it lives through every fault.
  watch = await keeper.start({
    name: "watch",
    command: tools.kubectl,
    args: ["get", "configmaps", "-n", "default", "-w"],
    env: { ...cli.env, KUBECONFIG: proxy.kubeconfigPath },
    cwd: folder,
    logPath: join(folder, "watch.log"),
  });
  await create("before");
  await shows("before");
});

afterAll(async () => {
  await watch?.stop();
  await link?.close();
});

const say = (line: string): void => void process.stderr.write(`${line}\n`);
const lasting = (ms: number): Promise<void> => wait(ms, { signal }, { clock: SYSTEM_CLOCK });

/**
 * Breaks something while a watch, a transfer both ways and idle streams are open. None of them may notice more than a
 * pause.
 */
async function survives(name: string, bytes: number, breakAndMend: () => Promise<void>): Promise<void> {
  const idle: MuxStream[] = [];
  for (let index = 0; index < IDLE_STREAMS; index += 1) idle.push(await link.open(ECHO, { signal }));
  await Promise.all(idle.map((stream) => answers(stream, randomBytes(100))));
  const stream = await link.open(ECHO, { signal });
  const transfer = startTransfer(stream, bytes, { now: () => performance.now() });
  await transfer.reached(bytes / 8);
  await breakAndMend();
  const object = `after-${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`;
  await create(object);
  await shows(object);
  const end = await transfer.done;
  expect(end.receivedBytes).toBe(bytes);
  expect(end.receivedSha256).toBe(end.sentSha256);
  expect(await stream.done).toEqual({ kind: "finished" });
  await Promise.all(idle.map((one) => answers(one, randomBytes(100))));
  await Promise.all(idle.map(finish));
  say(
    `${name}: ${Math.round(end.longestPauseMs)} ms without progress; ${bytes / MIB} MiB each way in ${(end.ms / 1_000).toFixed(1)} s`,
  );
}

async function during(fault: Fault, ms: number): Promise<void> {
  const end = transport().callerSide.begin(fault);
  await lasting(ms);
  end();
}

test("the relay is killed and started again", async () => {
  const { relay } = transport().stack;
  await survives("relay killed and restarted", TRANSFER_BYTES, async () => {
    relay.program.signal("SIGKILL");
    await relay.program.ended;
    await relay.start();
  });
});

test("nothing passes between CLI and relay for 20 s", async () => {
  await survives("20 s without network", TRANSFER_BYTES, () => during(STALL, 20_000));
});

test("links between CLI and relay are reset, and new ones too, for 3 s", async () => {
  await survives("3 s of resets", SHORT_TRANSFER_BYTES, () => during(CUT, 3_000));
});

test("everything between CLI and relay is lost for 12 s", async () => {
  await survives("12 s of loss", SHORT_TRANSFER_BYTES, () => during(HALF_OPEN, 12_000));
});

test("links between agent and relay are reset", async () => {
  await survives("agent's links reset", SHORT_TRANSFER_BYTES, async () => {
    transport().agentSide.begin(CUT)();
  });
});

test("the relay is stopped by SIGSTOP for 15 s", async () => {
  const { relay } = transport().stack;
  await survives("relay stopped for 15 s", TRANSFER_BYTES, async () => {
    relay.program.signal("SIGSTOP");
    await lasting(15_000);
    relay.program.signal("SIGCONT");
  });
});

test("the relay drains and is started again", async () => {
  const { relay } = transport().stack;
  await survives("relay drained and restarted", TRANSFER_BYTES, async () => {
    await relay.stop();
    await relay.start();
  });
});

test("the same kubectl watched all the time, and every counter is back afterwards", async () => {
  await create("last");
  await shows("last");
  await watch.stop();
  await atBaseline(transport());
  expect(link.counters).toEqual({ streams: 0, suspended: 0, retainedBytes: 0 });
});
