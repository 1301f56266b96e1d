/**
 * Runs a script of this folder with the arguments that it was given. `--help` shows its usage and does nothing. An error
 * is one line without a stack.
 *
 * @param main gets the arguments without the `--` that pnpm hands on, and returns the exit code.
 */
export async function runScript(usage: string, main: (args: readonly string[]) => Promise<number>): Promise<void> {
  const given = process.argv.slice(2);
  const args = given[0] === "--" ? given.slice(1) : given;
  if (args.includes("--help") || args.includes("-h")) {
    console.log(usage);
    return;
  }
  try {
    process.exitCode = await main(args);
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
