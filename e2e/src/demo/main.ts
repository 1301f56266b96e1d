/** `pnpm demo`: hands the machine over to `runDemo`. */
import { runDemo } from "./run.ts";

process.exitCode = await runDemo(process.argv.slice(2), {
  env: process.env,
  signals: process,
  stdout: (text) => void process.stdout.write(text),
  stderr: process.stderr,
  // Where the person typed it; pnpm itself starts scripts in the package's folder.
  cwd: process.env["INIT_CWD"] ?? process.cwd(),
  onTerminal: process.stdin.isTTY === true,
  platform: process.platform,
  arch: process.arch,
  uid: process.getuid?.(),
});
