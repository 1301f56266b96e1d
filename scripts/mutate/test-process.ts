import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { Answer, Question } from "./messages.ts";

/** A process with the tests, started again when a mutant has stopped it. */
export interface TestProcess {
  /** @returns undefined when there was no answer in `timeoutMs`, as from a loop without an end. */
  ask(question: Question, options: { readonly timeoutMs: number }): Promise<Answer | undefined>;
  stop(): void;
}

export interface TestProcessOptions {
  readonly root: string;
  /** Seconds that a test may wait for what does not come. */
  readonly patience: number;
  /** A file that may be written, for what the tests' own processes are to load. */
  readonly servedPath: string;
}

export function createTestProcess(options: TestProcessOptions): TestProcess {
  let child: ChildProcess | undefined;

  async function start(): Promise<ChildProcess> {
    const started = fork(
      new URL("./worker.ts", import.meta.url),
      [options.root, String(options.patience), options.servedPath],
      {
        cwd: options.root,
        // A group of its own, so that what the tests have started ends with it.
        detached: true,
        execArgv: ["--conditions=source"],
        stdio: ["ignore", "ignore", "inherit", "ipc"],
      },
    );
    const ended = new AbortController();
    started.once("exit", () => ended.abort());
    await once(started, "message", { signal: ended.signal });
    return started;
  }

  function stop(): void {
    const pid = child?.pid;
    child = undefined;
    if (pid === undefined) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }

  async function ask(question: Question, { timeoutMs }: { readonly timeoutMs: number }): Promise<Answer | undefined> {
    child ??= await start();
    const settled = new AbortController();
    const end = (): void => settled.abort();
    child.once("exit", end);
    try {
      const answered = once(child, "message", {
        signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), settled.signal]),
      });
      child.send(question);
      const [answer] = (await answered) as [Answer];
      child.off("exit", end);
      return answer;
    } catch {
      stop();
      return undefined;
    }
  }

  return { ask, stop };
}
