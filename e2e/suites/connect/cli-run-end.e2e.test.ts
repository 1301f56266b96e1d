import { createHash, randomBytes } from "node:crypto";
import { access, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { RunResult } from "../../src/process/run-to-end.ts";
import type { Cli } from "../../src/stack/cli.ts";
import { useSink } from "../support/relays/sink-scene.ts";

const scene = useSink();
let cli: Cli;

beforeAll(async () => {
  cli = await scene().cli("jane");
});

/** All of what docs/reliability.md promises take minutes. */
const RUNS = process.env["RELIABILITY_EXACT"] === "1" ? 200 : 24;
const AT_ONCE = 4;
const BYTES = 2_000_000;
/** Connects to the port of its kubeconfig, writes a file there, closes, notes that, and is gone. */
const WRITE_AND_LEAVE = `
port=$(sed -n 's|.*server: https://127.0.0.1:||p' "$KUBECONFIG")
exec 3<>"/dev/tcp/127.0.0.1/$port"
cat "$0" >&3
exec 3>&-
: > "$1"
exit 7`;

interface Writing {
  readonly id: number;
  readonly sha256: string;
  readonly left: string;
  readonly words: readonly string[];
}

async function prepare(id: number): Promise<Writing> {
  const payload = randomBytes(BYTES);
  payload.writeUInt32BE(id, 0);
  const file = join(scene().folder, `payload-${id}`);
  await writeFile(file, payload);
  const left = `${file}.left`;
  const sha256 = createHash("sha256").update(payload).digest("hex");
  return { id, sha256, left, words: ["run", "-n", "sink", "--", "bash", "-c", WRITE_AND_LEAVE, file, left] };
}

async function hasLeft({ left }: Writing): Promise<boolean> {
  return await access(left).then(
    () => true,
    () => false,
  );
}

/** The cluster takes the last bytes only once the command is gone. */
async function writeAndLeave(id: number): Promise<void> {
  const writing = await prepare(id);
  const ended = cli.run(writing.words);
  const early = ended.then((done) => expect.unreachable(`the run ended first: ${done.stderr}`));
  await Promise.race([early, expect.poll(() => hasLeft(writing)).toBe(true)]);
  early.catch(() => undefined);
  scene().release(id);
  const done: RunResult = await ended;
  expect(done).toMatchObject({ code: 7, stderr: "" });
  expect(await scene().sunk(id)).toEqual({ bytes: BYTES, sha256: writing.sha256, isWhole: true });
}

test(`${RUNS} times 2 MB are written and closed by a command that is gone before they are taken: all are whole`, {
  timeout: 1_800_000,
}, async () => {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < RUNS) {
      next += 1;
      await writeAndLeave(next);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
});

test("what is not taken in ten seconds is cut off with a warning, and the exit code stays the command's", async () => {
  const writing = await prepare(9_001);
  const done = await cli.run(writing.words);
  expect(done.code).toBe(7);
  expect(done.stderr).toContain("warning: a connection did not end within 10 s of the command and had to be cut off");
  scene().release(writing.id);
});

test("Ctrl-C ends the waiting", async () => {
  const { keeper, folder, release } = scene();
  const writing = await prepare(9_002);
  const [command, ...first] = cli.command;
  const logPath = join(folder, "interrupted.log");
  const program = await keeper.start({
    name: "interrupted",
    command,
    args: [...first, ...writing.words],
    env: cli.env,
    cwd: folder,
    logPath,
  });
  await expect.poll(() => hasLeft(writing)).toBe(true);
  program.signal("SIGINT");
  await program.ended;
  release(writing.id);
  // It was not the end of the time that ended it.
  expect(await readFile(logPath, "utf8")).not.toContain("warning");
});
