import { access, constants, readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { repositoryFile } from "../src/stack/repository-file.ts";

const FOLDER = repositoryFile(".github/workflows");
const names = await readdir(FOLDER);

const WORKFLOW = z.object({
  permissions: z.record(z.string(), z.enum(["read", "write", "none"])),
  jobs: z.record(
    z.string(),
    z.object({
      "timeout-minutes": z.number(),
      permissions: z.record(z.string(), z.string()).optional(),
      steps: z.array(
        z.object({ uses: z.string().optional(), run: z.string().optional(), with: z.unknown() }).partial(),
      ),
    }),
  ),
});

test.each(names)(
  "%s pins each action by its hash, says its permissions, and runs scripts that are there",
  async (name) => {
    const text = await readFile(`${FOLDER}/${name}`, "utf8");
    const { permissions, jobs } = WORKFLOW.parse(parse(text));
    expect(Object.values(permissions)).not.toContain("write");
    for (const { steps } of Object.values(jobs)) {
      for (const { uses, run } of steps) {
        if (uses !== undefined) expect(uses).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/);
        expect(uses === undefined).toBe(run !== undefined);
        // Programs that a machine lacks come from its packages; everything else is ours.
        if (run === undefined || run.startsWith("sudo apt-get install ")) continue;
        await access(repositoryFile(run.split(" ").at(-1) ?? ""), constants.X_OK);
      }
    }
    for (const line of text.split("\n").filter((one) => one.includes("uses:")))
      expect(line).toMatch(/ # v\d+\.\d+\.\d+$/);
    // Text that is not ours never becomes part of a command.
    expect(text).not.toMatch(/run:.*\$\{\{/);
  },
);
