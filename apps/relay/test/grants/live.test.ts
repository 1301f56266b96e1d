import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { describe, expect, test, vi } from "vitest";
import { addGrantRow, removeGrantRow } from "../../src/store/queries/grants.ts";
import {
  dialAgent,
  dialCli,
  enrollAgent,
  type Fixture,
  openRequest,
  opsToken,
  PROD,
  startFixture,
} from "../support/fixture.ts";

const CLOSED = { code: "CC_GRANT_MISSING", message: expect.stringContaining("grant") };

async function openEcho(fixture: Fixture) {
  const agent = await enrollAgent(fixture);
  await (await dialAgent(fixture, agent)).ready;
  await vi.waitUntil(() => fixture.relay.registry.view(PROD).state === "connected", { timeout: 30_000 });
  const session = await dialCli(fixture, await opsToken(fixture));
  await session.ready;
  return () => session.open(openRequest());
}

async function writeWhole(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

describe("a grant that is taken away", () => {
  test("as a row ends live streams with a code that says so, and new ones are refused", async () => {
    const fixture = await startFixture({ grants: [] });
    const { store } = fixture;
    const open = await openEcho(fixture);
    await expect(open().accepted).rejects.toMatchObject({ code: "CC_CLUSTER_UNKNOWN" });
    const id = "api/one";
    const by = { actor: "admin", at: new Date() };
    const spec = { clusters: ["prod"], groups: ["ops"], expiresAt: undefined };
    await addGrantRow(store.db, { id, spec }, by);
    const stream = await vi.waitFor(
      async () => {
        const candidate = open();
        await candidate.accepted;
        return candidate;
      },
      { timeout: 30_000 },
    );
    const ended = new Promise((resolve) => stream.once("error", resolve));
    expect(await removeGrantRow(store.db, id, by)).toBe(true);
    expect(await ended).toMatchObject(CLOSED);
    await expect(open().accepted).rejects.toMatchObject({ code: "CC_CLUSTER_UNKNOWN" });
    expect(await removeGrantRow(store.db, id, by)).toBe(false);
  });

  test("from its file ends live streams too; a wrong file changes nothing and is logged", async () => {
    const grantsDir = await temporaryFolder();
    const file = join(grantsDir, "ops.yaml");
    await writeFile(file, "grants:\n  - name: ops\n    clusterSelector: '!retired'\n    groups: [ops]\n");
    const fixture = await startFixture({ grants: [], config: { grantsDir } });
    const open = await openEcho(fixture);
    const stream = open();
    await stream.accepted;
    const ended = new Promise((resolve) => stream.once("error", resolve));
    await writeWhole(file, "grants: [{}]");
    expect(await fixture.log.once("grants.kept")).toMatchObject({ source: "files", code: "CC_CONFIG_INVALID" });
    await open().accepted;
    await writeWhole(file, "grants: []");
    expect(await ended).toMatchObject(CLOSED);
  });
});
