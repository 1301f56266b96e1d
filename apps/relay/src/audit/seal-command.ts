import { execFile } from "node:child_process";
import { systemCode } from "@cluster-connect/base";
import { ConnectError } from "@cluster-connect/protocol";
import { isSameText, type SealKey } from "./seal-key.ts";

/** Commands that seal and verify, such as calls of a key service: the program, then its arguments. */
export interface SealCommands {
  /** Gets the text to seal on stdin and prints the seal. */
  readonly command: readonly string[];
  /** Gets the same text, a line feed and the seal, and exits with 0 when it is good. Else the first is run again. */
  readonly verifyCommand?: readonly string[] | undefined;
}

const TIMEOUT_MS = 10_000;
const MAX_SEAL_CHARACTERS = 4_096;
const MAX_OUTPUT_BYTES = 65_536;

/** The key of an operator's own service, which never comes into this process. */
export function createCommandKey({ command, verifyCommand }: SealCommands): SealKey {
  const seal = async (text: string): Promise<string> => {
    const { exitCode, stdout } = await runProgram(command, text);
    const [program] = command;
    if (exitCode !== 0) throw failed(`${program} exited with ${exitCode}`);
    const line = stdout.trim();
    if (/^[\x21-\x7e]+$/.test(line) && line.length <= MAX_SEAL_CHARACTERS) return line;
    throw failed(`${program} did not print a seal, which is one word of at most ${MAX_SEAL_CHARACTERS} characters`);
  };
  return {
    id: "command",
    algorithm: "command",
    seal,
    verify: async (text, given) => {
      if (verifyCommand === undefined) return isSameText(await seal(text), given);
      return (await runProgram(verifyCommand, `${text}\n${given}\n`)).exitCode === 0;
    },
  };
}

interface ProgramResult {
  readonly exitCode: number;
  readonly stdout: string;
}

/** Its stderr is not passed on: it may name what is secret. @throws ConnectError when it did not run to its end. */
async function runProgram([program = "", ...args]: readonly string[], input: string): Promise<ProgramResult> {
  const { promise, resolve, reject } = Promise.withResolvers<ProgramResult>();
  const options = { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES, killSignal: "SIGKILL" } as const;
  const child = execFile(program, args, options, (error, stdout) => {
    if (error === null) resolve({ exitCode: 0, stdout });
    else if (typeof error.code === "number") resolve({ exitCode: error.code, stdout });
    else if (error.killed === true) reject(failed(`${program} took longer than ${TIMEOUT_MS} ms or printed too much`));
    else reject(failed(`${program} could not be run: ${systemCode(error)}`));
  });
  // A program that does not read ends with its own result.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
  return await promise;
}

function failed(text: string): ConnectError {
  return new ConnectError("CC_CONFIG_INVALID", `audit.seal: ${text}`, {
    hint: "Run the command of audit.seal by hand, with a line of text on its stdin.",
  });
}
