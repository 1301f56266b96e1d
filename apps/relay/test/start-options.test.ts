import { execFile } from "node:child_process";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { z } from "zod";

/** Options of Node with which a relay is started, whichever way it comes to a machine. */
const OPTIONS = ["--max-semi-space-size=2"];

const REPOSITORY = join(import.meta.dirname, "../../..");
const repositoryText = (path: string): Promise<string> => readFile(join(REPOSITORY, path), "utf8");
const execute = promisify(execFile);

const [firstLine = ""] = (await repositoryText("apps/relay/src/main.ts")).split("\n", 1);
const [, entryPoint = ""] = /^ENTRYPOINT (\[.*\])$/m.exec(await repositoryText("apps/relay/Dockerfile")) ?? [];

/** A program in the relay's place, that says with which options it was started. */
async function writeProbe(text: string): Promise<string> {
  const path = join(await temporaryFolder(), "main.mjs");
  await writeFile(path, text);
  await chmod(path, 0o755);
  return path;
}

const SAY_OPTIONS = "console.log(JSON.stringify(process.execArgv));\n";

/** Its options, started with this process's Node first in the PATH. */
async function optionsOf(command: string, args: readonly string[] = []): Promise<unknown> {
  const PATH = [dirname(process.execPath), process.env["PATH"] ?? ""].join(delimiter);
  const { stdout } = await execute(command, args, { env: { PATH } });
  return JSON.parse(stdout);
}

test("the relay as an executable file runs with its options", async () => {
  expect(await optionsOf(await writeProbe(`${firstLine}\n${SAY_OPTIONS}`))).toEqual(OPTIONS);
});

test("the relay of the image runs with its options", async () => {
  const probe = await writeProbe(SAY_OPTIONS);
  const [command = "", ...args] = z.array(z.string()).parse(JSON.parse(entryPoint));
  expect(args.at(-1)).toBe("/app/dist/main.js");
  expect(await optionsOf(command, [...args.slice(0, -1), probe])).toEqual(OPTIONS);
});

test.each([
  ["the package's bin", "apps/relay/package.json", '"cluster-connect-relay": "./dist/main.js"'],
  ["the folder's program", "scripts/app-folder.ts", "await chmod(main, 0o755)"],
  [
    "the program that the unit starts",
    "docs/operate-a-relay.md",
    "ln -s /opt/cluster-connect-relay/dist/main.js /usr/bin/cluster-connect-relay",
  ],
  ["the unit", "deploy/relay/cluster-connect-relay.service", "ExecStart=/usr/bin/cluster-connect-relay --config"],
])("%s is the executable file", async (_what, path, wanted) => {
  expect(await repositoryText(path)).toContain(wanted);
});

test("a relay that is measured runs with its options", async () => {
  expect(await repositoryText("bench/src/chains/connect.ts")).toContain(
    `RELAY_FLAGS: readonly string[] = ${JSON.stringify(OPTIONS)}`,
  );
});
