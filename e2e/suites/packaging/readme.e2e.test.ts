import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { waitForLogText } from "../../src/process/log-events.ts";
import { type RunResult, runToEnd } from "../../src/process/run-to-end.ts";
import { signIn } from "../../src/stack/browser.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";
import { commandsOf } from "../support/console-blocks.ts";
import { notLocal } from "../support/provider.ts";
import { NO_END, useStack } from "../support/stack.ts";

const REPOSITORY: string = dirname(repositoryFile("README.md"));
const README: string = await readFile(join(REPOSITORY, "README.md"), "utf8");

/** Commands that are run elsewhere or cannot be run here, each with why. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "npx -y pnpm@12 demo": "without a command it waits for Ctrl-C: the suite demo does that",
  "npx -y pnpm@12 test": "it would run itself",
  "npx -y pnpm@12 images": "needs Docker: scripts and suites make these images in their own place",
};

/** A command with what it has to print, and the code it ends with. */
type Expected = Readonly<Record<string, { readonly code?: number; readonly shows: RegExp }>>;

/** Commands for a fresh clone, in the README's order. */
const IN_THE_CLONE: Expected = {
  "npx -y pnpm@12 demo -- kubectl auth whoami": { shows: /Username +\S*viewer/ },
  "npx -y pnpm@12 demo -- kubectl create namespace x": { code: 1, shows: /\(Forbidden\).*cannot create resource/ },
  "npx -y pnpm@12 demo --user admin -- kubectl create namespace x": { shows: /namespace\/x created/ },
  "npx -y pnpm@12 pack:cli": { shows: /npm install -g \.\/dist\/cluster-connect\.tgz/ },
  "npm install -g ./dist/cluster-connect.tgz": { shows: /added \d+ package/ },
  "npx -y pnpm@12 pack:relay /opt/cluster-connect-relay": { shows: /The relay is in / },
};

/** Commands for the program that was installed. */
const WITH_A_RELAY: Expected = {
  "cluster-connect clusters": { shows: /prod +.*connected/ },
  "cluster-connect run -n prod -- kubectl get pods": { shows: /No resources found in default namespace/ },
  "cluster-connect kubeconfig add -n prod": { shows: /prod/ },
};
const LOGIN = "cluster-connect login --relay https://relay.example.com";
const PROXY = "cluster-connect proxy -n prod";

const suite = useStack();

let world: string;
let clone: string;
/** Where the README's machine keeps its programs. */
let prefix: string;
let relayFolder: string;

beforeAll(async () => {
  world = await mkdtemp(join(suite().folder, "readme-"));
  clone = join(world, "clone");
  prefix = join(world, "prefix");
  relayFolder = join(world, "relay");
  const signal = NO_END;
  const git = async (...args: readonly string[]): Promise<string> => {
    const done = await runToEnd("git", args, { env: process.env, signal });
    expect(done).toMatchObject({ code: 0 });
    return done.stdout;
  };
  await git("clone", "--quiet", REPOSITORY, clone);
  // A change that is not committed yet is tried as well.
  const change = await git("-C", REPOSITORY, "diff", "--binary", "HEAD");
  if (change !== "") {
    await writeFile(join(world, "change.patch"), change);
    await git("-C", clone, "apply", join(world, "change.patch"));
  }
});
afterAll(() => rm(world, { recursive: true, force: true }));

/** A PATH with the Node that the programs need, and with what the README has installed. */
const path = (): string => [join(prefix, "bin"), dirname(process.execPath), personsPath].join(delimiter);

/** Variables and places of the run that this suite is part of: a person's shell has none of them. */
const OF_THIS_RUN = /^(npm|pnpm|vitest|e2e|test|node_options|node_env|node_path|init_cwd|ci|node)(_|$)/i;
const personsPath = (process.env["PATH"] ?? "")
  .split(delimiter)
  .filter((place) => !/node_modules|[\\/]_npx[\\/]|node-gyp-bin/.test(place))
  .join(delimiter);

/** As somebody types it in the clone; only programs that go to the machine's own places go to others here. */
async function inClone(command: string): Promise<RunResult> {
  const own = Object.entries(process.env).filter(([name]) => name === "NODE_EXTRA_CA_CERTS" || !OF_THIS_RUN.test(name));
  const typed = command.replace("/opt/cluster-connect-relay", relayFolder);
  return await runToEnd("sh", ["-c", typed], {
    env: { ...Object.fromEntries(own), PATH: personsPath, NPM_CONFIG_PREFIX: prefix },
    signal: NO_END,
    cwd: clone,
  });
}

test("each command of the README is tried, here or where it says", () => {
  const tried = [IN_THE_CLONE, WITH_A_RELAY, ELSEWHERE].flatMap((commands) => Object.keys(commands));
  expect(new Set(commandsOf(README))).toEqual(new Set([...tried, LOGIN, PROXY]));
});

test("the README's commands work in a fresh clone, one after the other", async ({ skip }) => {
  skip(notLocal !== undefined, notLocal);
  for (const command of commandsOf(README).filter((one) => one in IN_THE_CLONE)) {
    const { code = 0, shows } = IN_THE_CLONE[command] ?? { shows: /^/ };
    const done = await inClone(command);
    expect(`${command}\n${done.stdout}\n${done.stderr}`).toMatch(shows);
    expect({ command, code: done.code }).toEqual({ command, code });
  }
  const relay = await inClone(`PATH=${path()} ${join(relayFolder, "dist", "main.js")} --help`);
  expect(relay.stdout).toContain("Usage: cluster-connect-relay");
  for (const folder of [relayFolder, join(prefix, "lib", "node_modules", "@cluster-connect", "cli")]) {
    expect(await readFile(join(folder, "LICENSE"), "utf8")).toBe(await readFile(join(REPOSITORY, "LICENSE"), "utf8"));
  }
});

test("the installed program does what the README types against a relay", async ({ skip }) => {
  skip(notLocal !== undefined, notLocal);
  const { stack, keeper } = suite();
  const cli = await stack.cli("reader");
  const home = join(world, "home");
  await mkdir(home);
  const kubeconfig = join(home, ".kube", "config");
  const env = {
    ...cli.env,
    HOME: home,
    PATH: [path(), cli.env["PATH"] ?? ""].join(delimiter),
    KUBECONFIG: kubeconfig,
    CLUSTER_CONNECT_CA_FILE: stack.relay.caFile ?? "",
  };
  const typed = (command: string): string =>
    `${command.replace("https://relay.example.com", stack.relay.url).replace("-n prod", `-n ${stack.clusterId}`)}`;
  const start = (name: string, command: string): ReturnType<typeof keeper.start> =>
    keeper.start({
      name,
      command: "/bin/sh",
      args: ["-c", `exec ${typed(command)}`],
      env,
      cwd: home,
      logPath: join(world, `${name}.log`),
    });
  const run = (command: string): Promise<RunResult> =>
    runToEnd("sh", ["-c", typed(command)], { env, signal: NO_END, cwd: home });

  const login = await start("readme-login", `${LOGIN} --no-browser`);
  const address = await waitForLogText(login, /https?:\S+response_type=\S+/, { signal: NO_END });
  await signIn(address, "viewer", { signal: NO_END }, { fetch });
  expect(await login.ended).toMatchObject({ code: 0 });

  for (const command of commandsOf(README).filter((one) => one in WITH_A_RELAY)) {
    const { code = 0, shows } = WITH_A_RELAY[command] ?? { shows: /^/ };
    const done = await run(command);
    const shown = done.stdout + done.stderr;
    expect(`${command}\n${shown.replaceAll(stack.clusterId, "prod")}`).toMatch(shows);
    expect({ command, code: done.code }).toEqual({ command, code });
  }
  const proxy = await start("readme-proxy", `${PROXY} --port 0`);
  await waitForLogText(proxy, /kubectl/, { signal: NO_END });
  const asked = await run(`kubectl --context ${stack.clusterId} auth can-i list pods`);
  expect(asked).toMatchObject({ code: 0, stdout: "yes\n" });
  await proxy.stop();
});
