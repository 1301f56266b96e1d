import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { findExecutable } from "../cluster/binaries/find-executable.ts";
import { findGoClient, goClientDeps } from "../cluster/binaries/go-client.ts";
import type { Keeper } from "../process/keeper.ts";
import { createProgress } from "../process/progress.ts";

/** Why this machine has no client of client-go, if it has none. */
export async function missingForGoClient(): Promise<string | undefined> {
  return (await findExecutable("go", process.env)) === undefined ? "Go is not installed" : undefined;
}

/** A fact that the client told. */
export type Fact = Readonly<Record<string, unknown>>;

/** A scene of the client that is under way. */
export interface GoScene extends AsyncDisposable {
  /** The next fact; rejects with what the client said when it ends before. */
  fact(): Promise<Fact>;
  tell(line: string): void;
  /** Ends its input and waits for its end; rejects unless that is a good one. */
  end(): Promise<void>;
}

/** The scene, how often it is done at once, and the environment of the person. */
export interface GoSceneOptions {
  readonly scene: "burst" | "watches" | "informers" | "execs" | "head";
  /** How many at once; of `head`, how long. */
  readonly count: number;
  readonly namespace?: string;
  readonly pod?: string;
  readonly env: Readonly<Record<string, string>>;
}

/** The program, built when there is none yet. */
function goClient(keeper: Keeper): Promise<string> {
  const progress = createProgress(process.stderr, { now: () => performance.now() });
  const options = { signal: new AbortController().signal };
  return findGoClient(options, goClientDeps(options, { env: process.env, progress, keeper }));
}

/** Starts a scene; the keeper ends it with this process. */
export async function startGoScene(
  { scene, count, namespace = "default", pod = "", env }: GoSceneOptions,
  deps: { readonly keeper: Keeper },
): Promise<GoScene> {
  const args = ["-scene", scene, "-count", String(count), "-namespace", namespace, "-pod", pod];
  const child = spawn(await goClient(deps.keeper), args, { env, stdio: "pipe" });
  const forget = child.pid === undefined ? undefined : deps.keeper.adopt(child.pid);
  const closed = once(child, "close");
  closed.catch(() => {}); // whoever waits hears it
  const said = text(child.stderr);
  child.stdin.on("error", () => {}); // its end says why
  const facts = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const failure = async (): Promise<Error> => {
    const [code] = await closed;
    return new Error(`${scene} ended with ${String(code)}: ${await said}`);
  };
  return {
    async fact() {
      const { value, done } = await facts.next();
      if (done === true) throw await failure();
      return JSON.parse(value);
    },
    tell: (line) => void child.stdin.write(`${line}\n`),
    async end() {
      child.stdin.end();
      const [code] = await closed;
      if (code !== 0) throw await failure();
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed.catch(() => {});
      forget?.();
    },
  };
}
