import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { packagesOf } from "../../../scripts/osv/query.ts";
import { repositoryFile } from "../../src/stack/repository-file.ts";

const LOCKFILE = `lockfileVersion: '9.0'
packages:
  '@scope/good@1.2.3':
    resolution: { integrity: sha512-x }
  bad@0.9.0-rc.1:
    resolution: { integrity: sha512-y }
`;

/** A database with this answer; resolves with what it was asked. */
async function database(answer: object, status = 200) {
  const asked: unknown[] = [];
  const server = createServer(async (request, response) => {
    asked.push({ path: request.url, body: JSON.parse(await text(request)) });
    response.writeHead(status).end(JSON.stringify(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

async function osv(url: string, env: Readonly<Record<string, string>> = {}, lockfile = LOCKFILE) {
  const folder = await temporaryFolder();
  const file = join(folder, "pnpm-lock.yaml");
  await writeFile(file, lockfile);
  return await new Promise<{ code: unknown; out: string; err: string }>((resolve) => {
    const args = [repositoryFile("scripts/osv.ts"), "--url", url, "--lockfile", file];
    const { CI: _, ...inherited } = process.env;
    execFile(process.execPath, args, { env: { ...inherited, ...env } }, (error, out, err) =>
      resolve({ code: error?.code ?? 0, out, err }),
    );
  });
}

test("each package of the lockfile is asked about, and one with an advisory fails", async () => {
  const { url, asked } = await database({ results: [{}, { vulns: [{ id: "GHSA-1" }, { id: "GHSA-2" }] }] });
  const { code, out } = await osv(url);
  expect(out).toBe("bad 0.9.0-rc.1: GHSA-1, GHSA-2\n1 of 2 packages have a known vulnerability.\n");
  expect(code).toBe(1);
  const queries = [
    { package: { name: "@scope/good", ecosystem: "npm" }, version: "1.2.3" },
    { package: { name: "bad", ecosystem: "npm" }, version: "0.9.0-rc.1" },
  ];
  expect(asked).toEqual([{ path: "/v1/querybatch", body: { queries } }]);
});

test("nothing known is good", async () => {
  const { url } = await database({ results: [{}, {}] });
  expect(await osv(url)).toEqual({ code: 0, out: "0 of 2 packages have a known vulnerability.\n", err: "" });
});

test.each<[what: string, answer: object, status: number]>([
  ["an error", {}, 500],
  ["too few results", { results: [{}] }, 200],
  ["no results", {}, 200],
])(
  "a database that answers with %s has not answered: a failure in CI, a word elsewhere",
  async (_what, answer, status) => {
    const { url } = await database(answer, status);
    const [here, inCi] = [await osv(url), await osv(url, { CI: "true" })];
    expect(here.out).toMatch(/^The database did not answer \(.+\); 2 packages were not checked\.\n$/);
    expect([here.code, inCi.code]).toEqual([0, 1]);
  },
);

test("a file that names no packages is refused", async () => {
  const { code, err } = await osv("http://127.0.0.1:1", {}, "a: 1\n");
  expect({ code, err }).toEqual({ code: 1, err: "error: The lockfile names no packages\n" });
});

test("the workspace's own lockfile is read: each of its packages once, without the peers behind the version", async () => {
  const packages = packagesOf(parse(await readFile(repositoryFile("pnpm-lock.yaml"), "utf8")));
  const names = packages.map(({ name, version }) => `${name}@${version}`);
  expect(names).toContain("vitest@5.1.1");
  expect(new Set(names).size).toBe(names.length);
  for (const { version } of packages) expect(version).toMatch(/^\d+\.\d+\.\d+[\w.+-]*$/);
});
