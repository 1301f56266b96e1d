import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";

const SCRIPT = repositoryFile("e2e/images/dockerd.sh");
const signal = new AbortController().signal;
const noShell = process.platform === "win32" ? "it is a shell script" : undefined;

/** Runs the script on a machine with this daemon, and a `docker` that finds it once `up` is there. */
async function machine(
  daemon: string,
): Promise<{ readonly folder: string; readonly run: (...args: readonly string[]) => Promise<RunResult> }> {
  const folder = await temporaryFolder();
  const program = (name: string, script: string): Promise<void> =>
    writeFile(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  await program("dockerd", daemon);
  await program("docker", `[ -e "${folder}/up" ]`);
  const env = { PATH: `${folder}:/usr/bin:/bin` };
  return { folder, run: (...args) => runToEnd(SCRIPT, [join(folder, "data"), ...args], { env, signal }) };
}

test("where no daemon starts there is one line that says why, and a code of its own", async ({ skip }) => {
  skip(noShell !== undefined, noShell);
  const { run } = await machine('echo "starting" >&2; echo "failed to start daemon: no cgroups" >&2; exit 1');
  expect(await run("true")).toEqual({ code: 69, stdout: "", stderr: "failed to start daemon: no cgroups\n" });
});

test("the command has the daemon for as long as it runs, and its code is the script's", async ({ skip }) => {
  skip(noShell !== undefined, noShell);
  const { folder, run } = await machine('echo $$ > "$(dirname "$0")/pid"; touch "$(dirname "$0")/up"; exec sleep 600');
  const done = await run("sh", "-c", 'echo "$DOCKER_HOST"; kill -0 "$(cat "$0/pid")" && exit 7', folder);
  expect(done).toMatchObject({ code: 7, stdout: `unix://${folder}/data/docker.sock\n` });
  const pid = Number(await readFile(join(folder, "pid"), "utf8"));
  expect(() => process.kill(pid, 0)).toThrow("ESRCH");
});
