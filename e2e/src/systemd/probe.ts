/** Runs beside systemd: starts the relay's unit, looks at its process, kills it, stops it, and says what it saw. */
import { readFile, stat } from "node:fs/promises";
import { pollUntil } from "../process/poll.ts";
import { runToEnd } from "../process/run-to-end.ts";

const UNIT = "cluster-connect-relay.service";
const HEALTH = "http://127.0.0.1:443/healthz";
const STATE = "/var/lib/cluster-connect/relay.db";
const signal: AbortSignal = AbortSignal.timeout(120_000);
const POWEROFF_SIGNAL = 48; // SIGRTMIN+14, see systemd(1)

async function systemctl(...args: readonly string[]): Promise<string> {
  const done = await runToEnd("systemctl", args, { env: process.env, signal });
  return `${done.stdout}${done.stderr}`.trim();
}

async function property(name: string): Promise<string> {
  return await systemctl("show", "--property", name, "--value", UNIT);
}

async function answered(): Promise<string> {
  return await pollUntil(
    async () => {
      const response = await fetch(HEALTH, { signal }).catch(() => undefined);
      return response === undefined ? undefined : await response.text();
    },
    { signal },
  );
}

async function look(): Promise<Readonly<Record<string, string>>> {
  const pid = Number(await property("MainPID"));
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const lines = status.split("\n").map((line) => line.split(/:?\s+/));
  const field = (name: string): string => lines.find(([key]) => key === name)?.[1] ?? "";
  const commandLine = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0").join(" ");
  const kept = await stat(STATE);
  return {
    uid: field("Uid"),
    capabilities: field("CapEff"),
    bounding: field("CapBnd"),
    noNewPrivileges: field("NoNewPrivs"),
    seccomp: field("Seccomp"),
    commandLine,
    state: await property("ActiveState"),
    stateOwner: String(kept.uid),
    stateMode: (kept.mode & 0o777).toString(8),
  };
}

async function main(): Promise<void> {
  const started = await systemctl("start", UNIT);
  const first = await answered();
  const running = await look();
  const before = await property("MainPID");
  process.kill(Number(before), "SIGKILL");
  const again = await pollUntil(
    async () => {
      const pid = await property("MainPID");
      return pid === "0" || pid === before ? undefined : pid;
    },
    { signal },
  );
  const second = await answered();
  const stopped = await systemctl("stop", UNIT);
  const result = await property("Result");
  process.stdout.write(
    `${JSON.stringify({ started, first, running, again: again !== before, second, stopped, result })}\n`,
  );
}

try {
  await main();
} finally {
  process.kill(1, POWEROFF_SIGNAL);
}
