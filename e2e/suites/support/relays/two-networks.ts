import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import type { Keeper, Program } from "../../../src/process/keeper.ts";
import { pollUntil } from "../../../src/process/poll.ts";
import { runToEnd } from "../../../src/process/run-to-end.ts";

/** A place with two networks, of which one is there at a time: as a laptop that goes from Wi-Fi to a cable. */
export interface TwoNetworks {
  /** Arguments of `nsenter` that start a program in this place; there, `localhost` leads to the host's `port`. */
  readonly enter: readonly string[];
  /** The first network goes away, with its address. */
  leaveFirst(): Promise<void>;
  /** The second one is there: another interface, another address, another route. */
  joinSecond(): Promise<void>;
  stop(): Promise<void>;
}

const TIMEOUT_MS = 60_000;
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
const MAX_PLACES = 60;

/** Why such a place cannot be on this machine. */
export async function noTwoNetworks(): Promise<string | undefined> {
  if (process.platform !== "linux") return "network namespaces need Linux";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const works = await runToEnd("unshare", ["--net", "--mount", "ip", "link"], { env: { PATH }, signal }).catch(
    () => undefined,
  );
  return works?.code === 0 ? undefined : "unshare or ip is missing, or not permitted";
}

/** @param port on the host's loopback; it is reached from the place by way of either network. */
export async function makeTwoNetworks(
  folder: string,
  port: number,
  deps: { readonly keeper: Keeper },
): Promise<TwoNetworks> {
  const place: Program = await deps.keeper.start({
    name: "place",
    command: "unshare",
    args: ["--net", "--mount", "sleep", "infinity"],
    env: { PATH },
    cwd: folder,
    logPath: join(folder, "place.log"),
  });
  const enter = ["-t", String(place.pid), "-n", "-m", "--"];
  const run = async (command: string, args: readonly string[]): Promise<string> => {
    const done = await runToEnd(command, args, { env: { PATH }, signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (done.code === 0) return done.stdout;
    throw new Error(`${command} ${args.join(" ")}: ${done.stderr.trim()}`);
  };
  const inside = (...args: readonly string[]): Promise<string> => run("nsenter", [...enter, ...args]);
  const own = await run("readlink", ["/proc/self/ns/net"]);
  await pollUntil(async () => ((await run("readlink", [`/proc/${place.pid}/ns/net`])) === own ? undefined : true), {
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const index = await claim(place.pid, run);
  const [first, second] = [`ccroam${index}a`, `ccroam${index}b`];
  const address = (last: number): string => `10.246.${index}.${last}`;
  await run("ip", ["link", "add", second, "type", "veth", "peer", "name", "second", "netns", String(place.pid)]);
  await run("ip", ["address", "add", `${address(1)}/30`, "dev", first]);
  await run("ip", ["address", "add", `${address(5)}/30`, "dev", second]);
  for (const name of [first, second]) await run("ip", ["link", "set", name, "up"]);
  await inside("ip", "link", "set", "lo", "up");
  await inside("ip", "address", "add", `${address(2)}/30`, "dev", "first");
  await inside("ip", "link", "set", "first", "up");
  const hosts = join(folder, "hosts");
  await writeFile(hosts, `${address(1)} localhost\n`);
  await inside("mount", "--bind", hosts, "/etc/hosts");
  const gateway = await forward(address(1), port);
  return {
    enter,
    leaveFirst: async () => {
      await inside("ip", "link", "set", "first", "down");
      await inside("ip", "address", "flush", "dev", "first");
    },
    joinSecond: async () => {
      await inside("ip", "address", "add", `${address(6)}/30`, "dev", "second");
      await inside("ip", "link", "set", "second", "up");
      await inside("ip", "route", "add", address(1), "via", address(5));
    },
    stop: async () => {
      gateway.close();
      await place.stop();
    },
  };
}

/** The name of the first interface claims the addresses. */
async function claim(pid: number, run: (command: string, args: readonly string[]) => Promise<string>): Promise<number> {
  for (let index = 0; index < MAX_PLACES; index++) {
    const peer = ["type", "veth", "peer", "name", "first", "netns", String(pid)];
    const taken = await run("ip", ["link", "add", `ccroam${index}a`, ...peer]).then(
      () => false,
      (error: unknown) => {
        if (error instanceof Error && error.message.includes("File exists")) return true;
        throw error;
      },
    );
    if (!taken) return index;
  }
  throw new Error("no range of addresses is free");
}

async function forward(host: string, port: number): Promise<{ close(): void }> {
  const server = createServer((near) => {
    const far = connect({ host: "127.0.0.1", port });
    near.on("error", () => far.destroy()).pipe(far);
    far.on("error", () => near.destroy()).pipe(near);
  });
  server.listen(port, host);
  await once(server, "listening");
  return server;
}
