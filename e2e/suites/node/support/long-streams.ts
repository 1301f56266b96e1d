import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Keeper } from "../../../src/process/keeper.ts";
import { waitForLogText } from "../../../src/process/log-events.ts";
import { pollUntil } from "../../../src/process/poll.ts";
import { runToEnd } from "../../../src/process/run-to-end.ts";
import { NO_END } from "../../support/stack.ts";

/** How a stream ended. */
export interface EndedStream {
  readonly kind: "exec" | "cp" | "port-forward";
  /** Whether it carried everything that it was to. */
  readonly whole: boolean;
  /** By `performance.now()`. */
  readonly endedAt: number;
  /** The last line that kubectl wrote about it. */
  readonly reason: string;
}

/** Streams of each kind, some for each agent. */
export interface LongStreams {
  /** Resolves when all of them carry something. */
  opened(kubectl: (args: readonly string[]) => Promise<string>): Promise<void>;
  ended(): Promise<readonly EndedStream[]>;
}

interface Person {
  /** Path of the program. */
  readonly kubectl: string;
  readonly env: Readonly<Record<string, string>>;
  readonly folder: string;
  readonly keeper: Keeper;
}

const OF_EACH = 4;
const SECONDS = 25;
const WAIT_MS = 60_000;
const ECHO_PORT = 7;
const LINES = Array.from({ length: SECONDS }, (_, line) => `${line}\n`).join("");
/** Says that it runs, then a number each second. */
const COUNT = `touch /tmp/running-$$; i=0; while [ $i -lt ${SECONDS} ]; do echo $i; i=$((i+1)); sleep 1; done`;
/** A tar that takes its time, for `kubectl cp` to find. */
const SLOW_TAR = `#!/bin/sh
busybox tar "$@" > /tmp/archive-$$; touch /tmp/running-$$
i=0; while [ $i -lt ${SECONDS} ]; do dd if=/tmp/archive-$$ bs=65536 skip=$i count=1 2> /dev/null; i=$((i+1)); sleep 1; done
`;
const PREPARE = `
dd if=/dev/urandom of=/tmp/copied bs=65536 count=${SECONDS - 1} 2> /dev/null
rm /bin/tar; cat > /bin/tar; chmod +x /bin/tar
nc -ll -p ${ECHO_PORT} -e cat > /dev/null 2>&1 &`;

const lastLine = (text: string): string => text.trim().split("\n").at(-1) ?? "";

/** Starts them in a pod with the suites' image. */
export function startStreams(pod: string, person: Person): LongStreams {
  const { kubectl: program, env, folder } = person;
  const kubectl = (args: readonly string[], input?: string): ReturnType<typeof runToEnd> =>
    runToEnd(program, args, { env, signal: NO_END, cwd: folder, ...(input === undefined ? {} : { input }) });
  const prepared = kubectl(["exec", "-i", pod, "--", "sh", "-c", PREPARE], SLOW_TAR);
  const numbers = Array.from({ length: OF_EACH }, (_, index) => index);

  const exec = async (): Promise<EndedStream> => {
    await prepared;
    const { code, stdout, stderr } = await kubectl(["exec", pod, "--", "sh", "-c", COUNT]);
    const whole = code === 0 && stdout === LINES;
    return { kind: "exec", whole, endedAt: performance.now(), reason: lastLine(stderr) };
  };
  const cp = async (index: number): Promise<EndedStream> => {
    await prepared;
    const to = join(folder, `copied-${index}`);
    const { code, stderr } = await kubectl(["cp", "--retries=0", `${pod}:/tmp/copied`, to]);
    const endedAt = performance.now();
    const bytes = await readFile(to).then(
      ({ length }) => length,
      () => 0,
    );
    return { kind: "cp", whole: code === 0 && bytes === (SECONDS - 1) * 65_536, endedAt, reason: lastLine(stderr) };
  };
  const forwards = numbers.map(async (index) => {
    await prepared;
    const forward = await startForward(pod, `forward-${index}`, person);
    return { opened: forward.opened, ended: forward.ended };
  });
  const others = numbers.flatMap((index) => [exec(), cp(index)]);
  return {
    opened: async (ask) => {
      const running = async (): Promise<true | undefined> => {
        const count = await ask(["exec", pod, "--", "sh", "-c", "ls /tmp/running-* | wc -l"]).catch(() => "0");
        return Number(count) >= others.length ? true : undefined;
      };
      await pollUntil(running, { signal: AbortSignal.timeout(WAIT_MS), intervalMs: 300 });
      for (const forward of forwards) await (await forward).opened;
    },
    ended: async () => await Promise.all([...others, ...forwards.map(async (forward) => await (await forward).ended)]),
  };
}

/** One connection through a port-forward of its own, with a byte there and back each second. */
async function startForward(
  pod: string,
  name: string,
  { kubectl, env, folder, keeper }: Person,
): Promise<{ readonly opened: Promise<unknown>; readonly ended: Promise<EndedStream> }> {
  const forward = await keeper.start({
    name,
    command: kubectl,
    args: ["port-forward", `pod/${pod}`, `:${ECHO_PORT}`],
    env,
    cwd: folder,
    logPath: join(folder, `${name}.log`),
  });
  const said = await waitForLogText(forward, /127\.0\.0\.1:\d+/, { signal: AbortSignal.timeout(WAIT_MS) });
  const socket = connect(Number(said.split(":")[1]), "127.0.0.1");
  const opened = Promise.withResolvers<void>();
  let answers = 0;
  let closedAt = 0;
  socket.on("data", () => {
    answers += 1;
    opened.resolve();
  });
  socket.on("error", () => {});
  socket.once("close", () => {
    closedAt = performance.now();
  });
  const converse = async (): Promise<EndedStream> => {
    for (let second = 0; second < SECONDS && closedAt === 0; second++) {
      socket.write("x");
      await delay(1_000);
    }
    const whole = closedAt === 0 && answers >= SECONDS - 1;
    socket.destroy();
    await forward.stop();
    const reason = lastLine(await readFile(forward.logPath, "utf8"));
    return { kind: "port-forward", whole, endedAt: closedAt || performance.now(), reason };
  };
  return { opened: opened.promise, ended: converse() };
}
