import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startKeeper } from "../../src/process/keeper.ts";
import { missingSystemd, runRelayUnit } from "../../src/systemd/run-unit.ts";

const missing = missingSystemd();
/** CAP_NET_BIND_SERVICE alone. */
const ONLY_LOW_PORTS = "0000000000000400";
const TIMEOUT_MS = 90_000;

const name = "systemd starts the relay's unit as nobody on port 443, starts it again after a crash, and drains it";
test.skipIf(missing !== undefined)(missing === undefined ? name : `${name}: ${missing}`, async () => {
  const keeper = await startKeeper();
  const work = await mkdtemp(join(tmpdir(), "cc-unit-"));
  keeper.ownFolder(work);
  const { probe, relayLog, errors } = await runRelayUnit(work, { signal: AbortSignal.timeout(TIMEOUT_MS) }, { keeper });
  await keeper.stop();
  if (probe === "") expect.fail(`${errors}\n${relayLog}`);
  const seen: unknown = JSON.parse(probe);
  expect(seen).toMatchObject({
    started: "",
    first: "ok",
    again: true,
    second: "ok",
    stopped: "",
    result: "success",
    running: {
      state: "active",
      capabilities: ONLY_LOW_PORTS,
      bounding: ONLY_LOW_PORTS,
      noNewPrivileges: "1",
      seccomp: "2",
      commandLine: expect.stringContaining(" --max-semi-space-size=2 "),
      stateMode: "600",
    },
  });
  // systemd made up a user for it, and that user owns its data.
  const [, uid, owner] = /"uid":"(\d+)".*"stateOwner":"(\d+)"/.exec(probe) ?? [];
  expect(Number(uid)).toBeGreaterThanOrEqual(61_184);
  expect(owner).toBe(uid);
  const events = relayLog.split("\n").flatMap((line) => /"event":"([^"]+)"/.exec(line)?.[1] ?? []);
  expect(events.filter((event) => event === "relay.listening")).toHaveLength(2);
  expect(events.at(-1)).toBe("shutdown.done");
});
