import { spawn } from "node:child_process";
import { onAbort, systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import type { CliDeps } from "../deps.ts";

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
  deps: Pick<CliDeps, "env">,
): ClusterTools {
  const { kubeconfig, kubeContext } = flags;
  const env = { ...deps.env, ...(kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig }) };
  const context = (flag: string): readonly string[] => (kubeContext === undefined ? [] : [flag, kubeContext]);
  const tool =
    (name: string, flag: string) =>
    (args: readonly string[], input = "", stop?: AbortSignal): Promise<ToolResult> => {
      const signal = stop === undefined ? options.signal : AbortSignal.any([options.signal, stop]);
      return runTool(name, [...args, ...context(flag)], input, env, signal);
    };
  return { kubectl: tool("kubectl", "--context"), helm: tool("helm", "--kube-context") };
}

function runTool(
  name: string,
  args: readonly string[],
  input: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<ToolResult> {
  const { promise, resolve, reject } = Promise.withResolvers<ToolResult>();
  if (signal.aborted) return Promise.reject(signal.reason);
  // A process group of its own: Ctrl-C reaches it by way of us, once.
  const child = spawn(name, args, { env, stdio: "pipe", detached: true });
  const end = (): void => void child.kill("SIGTERM");
  const leave = onAbort(signal, end);
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => {}); // one that does not read its input
  child.stdin.end(input);
  child.on("error", (cause) => {
    const reason = systemCode(cause) === "ENOENT" ? "is not installed" : "cannot be started";
    reject(new ConnectError("CC_COMMAND_NOT_FOUND", `${name} ${reason}`, { cause }));
  });
  child.once("close", (code) => {
    leave();
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
