import { execFile, spawnSync } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { testCli } from "../support/cli.ts";

const run = promisify(execFile);
const has = (shell: string): boolean => spawnSync(shell, ["-c", "true"], { stdio: "ignore" }).status === 0;

/** A folder with the script of a shell, and with programs that know two clusters and two contexts. */
async function stage(shell: string): Promise<{ readonly folder: string; readonly env: NodeJS.ProcessEnv }> {
  const cli = testCli("/nowhere");
  expect(await cli.run("completion", shell)).toBe(0);
  const folder = await temporaryFolder();
  await mkdir(join(folder, "fpath"));
  await writeFile(join(folder, "fpath/_cluster-connect"), cli.out());
  for (const [name, lines] of [
    ["cluster-connect", "prod\ntest"],
    ["kubectl", "minikube\nkind-dev"],
  ] as const) {
    await writeFile(join(folder, name), `#!/bin/sh\nprintf '%s\\n' ${lines.replace("\n", " ")}\n`);
    await chmod(join(folder, name), 0o755);
  }
  const env = { PATH: `${folder}:${process.env["PATH"]}`, HOME: folder, TERM: "xterm" };
  return { folder, env };
}

/** Script that writes each line as it is after Tab, in a real zsh on a real terminal. */
const ZSH = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1= RPS1=; $1"
zpty -w z 'complete_and_tell() { zle complete-word; print -r -- "$BUFFER" > $HOME/told; zle kill-whole-line }'
zpty -w z 'zle -N complete_and_tell; bindkey "^T" complete_and_tell'
shift
for line in "$@"; do
  rm -f $HOME/told
  zpty -w -n z "$line"$'\\C-t'
  for (( i = 0; i < 600; i++ )); do [[ -s $HOME/told ]] && break; zpty -r -t z discarded 2>/dev/null; read -t 0.05 < /dev/null || sleep 0.05; done
  cat $HOME/told 2>/dev/null || print -r -- "nothing for $line"
done
zpty -d z
`;

const CASES: readonly (readonly [string, string])[] = [
  ["cluster-connect prox", "proxy"],
  ["cluster-connect clusters tr", "trust"],
  ["cluster-connect clusters --output js", "json"],
  ["cluster-connect clusters trust --finger", "--fingerprint"],
  ["cluster-connect proxy -n pr", "prod"],
  ["cluster-connect run --name te", "test"],
  ["cluster-connect completion fi", "fish"],
  ["cluster-connect connect --kube-context mini", "minikube"],
];

test.runIf(has("zsh")).each(["a file of fpath", "a script that is sourced"])("zsh completes by %s", async (how) => {
  const { folder, env } = await stage("zsh");
  const load = how.startsWith("a file")
    ? "fpath=($HOME/fpath $fpath); autoload -U compinit; compinit -u -D"
    : "autoload -U compinit; compinit -u -D; source $HOME/fpath/_cluster-connect";
  const lines = CASES.map(([line]) => line);
  const { stdout } = await run("zsh", ["-f", "-c", ZSH, "zsh", load, ...lines], { env, cwd: folder });
  const expected = CASES.map(([line, word]) => `${line.slice(0, line.lastIndexOf(" "))} ${word}`);
  expect(
    stdout
      .split("\n")
      .map((line) => line.trimEnd())
      .filter((line) => line !== ""),
  ).toEqual(expected);
});

test.runIf(has("fish"))("fish completes", async () => {
  const { folder, env } = await stage("fish");
  for (const [line, word] of CASES) {
    const script = `source $HOME/fpath/_cluster-connect; complete -C ${JSON.stringify(line)}`;
    const { stdout } = await run("fish", ["--no-config", "-c", script], { env, cwd: folder });
    expect(stdout.split("\n").map((offered) => offered.split("\t")[0])).toContain(word);
  }
});

test("bash completes", async () => {
  const { folder, env } = await stage("bash");
  const script =
    'source "$HOME/fpath/_cluster-connect"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cluster_connect; echo "$COMPREPLY"';
  for (const [line, word] of CASES) {
    const { stdout } = await run("bash", ["--norc", "-c", script, "bash", ...line.split(" ")], { env, cwd: folder });
    expect(stdout.trim()).toBe(word);
  }
});
