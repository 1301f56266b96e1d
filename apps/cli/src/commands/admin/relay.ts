import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import type { CommandContext } from "../context.ts";

const BINARY = "cluster-connect-relay";

/**
 * Starts the relay's own program with these arguments; it lies next to this one, or on PATH.
 *
 * @returns its exit code.
 */
export async function relay(args: readonly string[], { deps, interrupts }: CommandContext): Promise<number> {
  const beside = join(dirname(deps.self.args.at(-1) ?? deps.self.command), BINARY);
  const onPath = (deps.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, BINARY));
  const binary = [beside, ...onPath].find((candidate) => existsSync(candidate));
  if (binary === undefined) {
    throw new ConnectError("CC_COMMAND_NOT_FOUND", `There is no ${BINARY} next to this program or on PATH`, {
      hint: "Install the package @cluster-connect/relay, or use its image.",
    });
  }
  const child = spawn(binary, args, { stdio: "inherit", env: { ...deps.env } });
  const giveBack = interrupts.take((signal) => {
    if (!(deps.stdin.isTerminal && signal === "SIGINT")) child.kill(signal);
  });
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on("error", (cause) => {
        reject(
          new ConnectError("CC_COMMAND_NOT_FOUND", `${binary} cannot be started: ${systemCode(cause)}`, { cause }),
        );
      });
      child.once("exit", (code, ended) => resolve(code ?? 128 + (ended === null ? 0 : constants.signals[ended])));
    });
  } finally {
    giveBack();
  }
}
