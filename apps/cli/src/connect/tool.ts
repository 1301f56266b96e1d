import { spawn } from "node:child_process";
import { type Clock, onAbort, systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";
import { printable } from "../terminal/printable.ts";

/** How kubectl or helm ended. */
export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** kubectl and helm for one context of the person's kubeconfig. */
export interface ClusterTools {
  kubectl(args: readonly string[], input?: string): Promise<ToolResult>;
  /** @param stop Asks helm to end; it writes down that the operation failed, and the call rejects after that. */
  helm(args: readonly string[], input?: string, stop?: AbortSignal): Promise<ToolResult>;
}

export interface ToolFlags {
  readonly kubeconfig?: string;
  readonly kubeContext?: string;
}

/** Their calls reject with ConnectError `CC_COMMAND_NOT_FOUND` where one is not installed. */
export function clusterTools(
  flags: ToolFlags,
  options: { readonly signal: AbortSignal },
  deps: Pick<CliDeps, "env" | "clock" | "stderr">,
): ClusterTools {
  const { kubeconfig, kubeContext } = flags;
  const env = { ...deps.env, ...(kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig }) };
  const context = (flag: string): readonly string[] => (kubeContext === undefined ? [] : [flag, kubeContext]);
  const tool =
    (name: string, flag: string) =>
    (args: readonly string[], input = "", stop?: AbortSignal): Promise<ToolResult> => {
      const signal = stop === undefined ? options.signal : AbortSignal.any([options.signal, stop]);
      return runTool({ name, args: [...args, ...context(flag)], input, env }, signal, deps);
    };
  return { kubectl: tool("kubectl", "--context"), helm: tool("helm", "--kube-context") };
}

interface ToolCall {
  readonly name: string;
  readonly args: readonly string[];
  readonly input: string;
  readonly env: NodeJS.ProcessEnv;
}

/** A tool that still runs so long after it wrote a line waits for a person, who has to see the line. */
const SHOW_AFTER_MS = 2_000;

/**
 * Shows what a running tool says on stderr, line by line, such as the code of a credential plugin that has to be entered
 * somewhere. The words of a tool that ends at once are its caller's.
 */
function showWhileRunning(
  { name }: ToolCall,
  { clock, stderr }: { readonly clock: Clock; readonly stderr: CliDeps["stderr"] },
): { readonly push: (text: string) => void; readonly end: () => void } {
  let held = "";
  const show = (): void => {
    const lines = held.split("\n");
    held = "";
    for (const line of lines) if (line.trim() !== "") stderr.write(`${name}: ${printable(line.trimEnd())}\n`);
  };
  let timer: { cancel(): void } | undefined;
  return {
    push(text) {
      held += text;
      timer ??= clock.setTimer(SHOW_AFTER_MS, () => {
        timer = undefined;
        show();
      });
    },
    end: () => timer?.cancel(),
  };
}

function runTool(call: ToolCall, signal: AbortSignal, deps: Pick<CliDeps, "clock" | "stderr">): Promise<ToolResult> {
  const { name, args, input, env } = call;
  const { promise, resolve, reject } = Promise.withResolvers<ToolResult>();
  if (signal.aborted) return Promise.reject(signal.reason);
  // A process group of its own: Ctrl-C reaches it by way of us, once.
  const child = spawn(name, args, { env, stdio: "pipe", detached: true });
  const end = (): void => void child.kill("SIGTERM");
  const leave = onAbort(signal, end);
  const shown = showWhileRunning(call, deps);
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    shown.push(text);
  });
  child.stdin.on("error", () => {}); // one that does not read its input
  child.stdin.end(input);
  child.on("error", (cause) => {
    shown.end();
    const reason = systemCode(cause) === "ENOENT" ? "is not installed" : "cannot be started";
    reject(new ConnectError("CC_COMMAND_NOT_FOUND", `${name} ${reason}`, { cause }));
  });
  child.once("close", (code) => {
    leave();
    shown.end();
    if (signal.aborted) reject(signal.reason);
    else resolve({ code: code ?? 1, stdout, stderr });
  });
  return promise;
}

/** The line of a tool's output that tells most: the last one that is not empty. */
export function lastLine({ stderr, stdout }: Pick<ToolResult, "stderr" | "stdout">): string {
  const lines = `${stdout}\n${stderr}`.split("\n").filter((line) => line.trim() !== "");
  return (lines.at(-1) ?? "it says nothing").trim();
}
