import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SYSTEM_CLOCK, wait } from "@cluster-connect/base";
import { expect, test } from "vitest";
import type { Program } from "../../src/process/keeper.ts";
import { pollUntil } from "../../src/process/poll.ts";
import { type Cli, createCli } from "../../src/stack/cli.ts";
import { makeTwoNetworks, noTwoNetworks } from "../support/relays/two-networks.ts";
import { NO_END, useStack } from "../support/stack.ts";

const suite = useStack();

const SHOWN_TIMEOUT_MS = 60_000;
/** Longer than relay and agent keep a stream for a channel that was lost. */
const LONGER_THAN_GRACE_MS = 70_000;

const lasting = (ms: number): Promise<void> => wait(ms, { signal: NO_END }, { clock: SYSTEM_CLOCK });
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const create = (name: string): Promise<string> =>
  suite().stack.kubectlAsAdmin(["create", "configmap", name, "-n", "default"]);

/** A kubectl that watches, by way of a proxy's kubeconfig. */
async function startWatch(cli: Cli, kubeconfig: string, enter: readonly string[] = []): Promise<Watch> {
  const { keeper, tools } = suite();
  const home = cli.env["HOME"] ?? "";
  const [command = tools.kubectl, ...first] = [...enter, tools.kubectl];
  const program = await keeper.start({
    name: "watch",
    command,
    args: [...first, "get", "configmaps", "-n", "default", "-w"],
    env: { ...cli.env, KUBECONFIG: kubeconfig },
    cwd: home,
    logPath: join(home, "watch.log"),
  });
  const shows = (text: string): Promise<boolean> =>
    pollUntil(async () => ((await readFile(program.logPath, "utf8")).includes(text) ? true : undefined), {
      signal: AbortSignal.timeout(SHOWN_TIMEOUT_MS),
    });
  return { program, shows };
}

interface Watch {
  readonly program: Program;
  shows(text: string): Promise<boolean>;
}

test("a CLI that was stopped for 20 s goes on, and so does the watch through it", async () => {
  const { cli, proxy } = await suite().signIn("viewer");
  const watch = await startWatch(cli, proxy.kubeconfigPath);
  await create("before-the-stop");
  await watch.shows("before-the-stop");
  proxy.program.signal("SIGSTOP");
  await lasting(20_000);
  await create("while-stopped");
  const from = performance.now();
  proxy.program.signal("SIGCONT");
  await watch.shows("while-stopped");
  say(`stopped for 20 s: the watch went on after ${Math.round(performance.now() - from)} ms`);
  await watch.program.stop();
  await proxy.stop();
});

test("a CLI that was stopped for longer than streams are kept serves new ones", async () => {
  const { proxy, run } = await suite().signIn("viewer");
  proxy.program.signal("SIGSTOP");
  await lasting(LONGER_THAN_GRACE_MS);
  const from = performance.now();
  proxy.program.signal("SIGCONT");
  const asked = async (): Promise<true | undefined> =>
    (await run("kubectl", ["get", "namespaces"])).code === 0 ? true : undefined;
  await pollUntil(asked, { signal: AbortSignal.timeout(SHOWN_TIMEOUT_MS) });
  say(
    `stopped for ${LONGER_THAN_GRACE_MS / 1_000} s: kubectl had its answer after ${Math.round(performance.now() - from)} ms`,
  );
  await proxy.stop();
});

test("a CLI that goes from one network to another goes on, and so does the watch through it", async ({ skip }) => {
  const reason = await noTwoNetworks();
  skip(reason !== undefined, reason);
  const { stack, tools, keeper, folder } = suite();
  const { port } = new URL(stack.relay.url);
  const networks = await makeTwoNetworks(folder, Number(port), { keeper });
  const { caFile } = stack.relay;
  const relay = { url: `https://localhost:${port}`, caFile };
  const home = join(folder, "roaming");
  const authorities = { [stack.clusterId]: stack.authProxy.caFile };
  const cli = await createCli({ folder: home, relay, path: tools.path, signal: NO_END, authorities }, { keeper });
  await cli.login("viewer", "browser");
  const kubeconfig = join(home, "kubeconfig");
  const ready = join(home, "ready");
  const proxy = await keeper.start({
    name: "proxy",
    command: "nsenter",
    args: [
      ...networks.enter,
      ...cli.command,
      "proxy",
      "-n",
      "demo",
      "--port",
      "0",
      "-f",
      kubeconfig,
      "--ready-file",
      ready,
    ],
    env: cli.env,
    cwd: home,
    logPath: join(home, "proxy.log"),
  });
  const isReady = async (): Promise<true | undefined> =>
    (await readFile(ready, "utf8").catch(() => "")) === "" ? undefined : true;
  await pollUntil(isReady, { signal: AbortSignal.timeout(SHOWN_TIMEOUT_MS) });
  const watch = await startWatch(cli, kubeconfig, ["nsenter", ...networks.enter]);
  await create("first-network");
  await watch.shows("first-network");
  await networks.leaveFirst();
  await create("no-network");
  await lasting(5_000);
  const from = performance.now();
  await networks.joinSecond();
  await watch.shows("no-network");
  say(`another network after 5 s: the watch went on after ${Math.round(performance.now() - from)} ms`);
  expect(await readFile(proxy.logPath, "utf8")).toMatch(/The channel to \S+ was lost/);
  await watch.program.stop();
  await proxy.stop();
  await networks.stop();
});
