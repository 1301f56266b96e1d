import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { type Program, startKeeper } from "../../src/process/keeper.ts";
import { waitForLogEvent } from "../../src/process/log-events.ts";

const signal = AbortSignal.timeout(20_000);

async function run(script: string): Promise<Program> {
  const folder = await temporaryFolder();
  const keeper = await startKeeper();
  onTestFinished(() => keeper.stop());
  const env = { PATH: "/usr/bin:/bin" };
  return keeper.start({
    name: "program",
    command: "/bin/sh",
    args: ["-c", script],
    env,
    cwd: folder,
    logPath: join(folder, "log"),
  });
}

test("a JSON line is found among others, also when the program ends right after it", async () => {
  const program = await run(`echo starting; echo '{broken'; echo '{"event":"ready","port":7}'; exit 0`);
  const ready = await waitForLogEvent(program, (event) => event["event"] === "ready", { signal });
  expect(ready).toEqual({ event: "ready", port: 7 });
});

test("a program that ends without the line is named, with what it said last", async () => {
  const program = await run("echo 'no such file' >&2; exit 1");
  await expect(waitForLogEvent(program, () => true, { signal })).rejects.toThrow(
    "program ended while it was waited for: no such file",
  );
});
