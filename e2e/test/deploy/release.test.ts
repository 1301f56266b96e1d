import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, chmod, copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { repositoryFile } from "../../src/stack/repository-file.ts";

const APPS = ["relay", "agent", "auth-proxy", "cli"];
const TOKEN = "registry-token-of-the-test";
const DIGEST = `sha256:${"ab".repeat(32)}`;

/** Stands for a program: writes its name and arguments down, and what skopeo writes. */
const FAKE = `#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$1" in login|registry) cat > /dev/null ;; esac
while [ $# -gt 0 ]; do
  [ "$1" != --digestfile ] || printf '%s' "${DIGEST}" > "$2"
  shift
done
`;

async function sums(folder: string): Promise<void> {
  const lines = (await readdir(folder)).map(async (name) => {
    const bytes = await readFile(join(folder, name));
    return `${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`;
  });
  await writeFile(join(folder, "SHA256SUMS"), (await Promise.all(lines)).join(""));
}

/** A folder as the publishing job has it: the script, and what the other job made. */
async function publish(change: (folder: string) => Promise<void> = async () => undefined) {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "scripts/ci"), { recursive: true });
  await mkdir(join(folder, "bin"));
  const script = join(folder, "scripts/ci/release-publish.sh");
  await copyFile(repositoryFile("scripts/ci/release-publish.sh"), script);
  for (const name of ["skopeo", "cosign", "helm", "gh", "npx", "node", "npm", "docker"]) {
    await writeFile(join(folder, "bin", name), FAKE);
    await chmod(join(folder, "bin", name), 0o755);
  }
  const [release, images] = [join(folder, "dist/release"), join(folder, "dist/release-images")];
  await mkdir(release, { recursive: true });
  await mkdir(images);
  for (const app of APPS) {
    await writeFile(join(images, `${app}.tar`), `image of ${app}`);
    await writeFile(join(release, `${app}-1.2.3.sbom.cdx.json`), "{}");
  }
  for (const chart of ["agent", "relay"]) await writeFile(join(release, `cluster-connect-${chart}-1.2.3.tgz`), "chart");
  await sums(release);
  await sums(images);
  await change(folder);
  const calls = join(folder, "calls");
  await writeFile(calls, "");
  const env = {
    PATH: `${join(folder, "bin")}:/usr/bin:/bin`,
    CALLS: calls,
    TAG: "v1.2.3",
    REGISTRY: "registry.example/own",
    REGISTRY_USER: "robot",
    REGISTRY_TOKEN: TOKEN,
    GH_TOKEN: TOKEN,
  };
  const code = await new Promise<unknown>((resolve) => {
    execFile(script, { env }, (error) => resolve(error?.code ?? 0));
  });
  return { code, calls: (await readFile(calls, "utf8")).split("\n").slice(0, -1), images };
}

test("a release is pushed, each image signed by its digest with its SBOM, and published last", async () => {
  const { code, calls, images } = await publish();
  expect(code).toBe(0);
  for (const app of APPS) {
    const image = `registry.example/own/${app}@${DIGEST}`;
    expect(calls).toContain(`cosign sign --yes --recursive ${image}`);
    const sbom = `dist/release/${app}-1.2.3.sbom.cdx.json`;
    expect(calls).toContain(`cosign attest --yes --type cyclonedx --predicate ${sbom} ${image}`);
  }
  expect(calls.filter((call) => call.startsWith("helm push "))).toHaveLength(2);
  expect(calls).toContain(
    "cosign sign-blob --yes --bundle dist/release/SHA256SUMS.sigstore.json dist/release/SHA256SUMS",
  );
  expect(calls.at(-1)).toMatch(/^gh release create v1\.2\.3 .*--verify-tag/);
  const digests = (await readFile(join(images, "digests"), "utf8")).split("\n").slice(0, -1);
  expect(digests).toEqual(APPS.map((app) => `${DIGEST.slice(7)}  registry.example/own/${app}`));
});

test("nothing of a package registry runs beside the tokens, and no command line holds one", async () => {
  const { calls } = await publish();
  expect(calls.filter((call) => /^(npx|node|npm|docker) /.test(call))).toEqual([]);
  expect(calls.join("\n")).not.toContain(TOKEN);
});

test.each(["dist/release/relay-1.2.3.sbom.cdx.json", "dist/release-images/relay.tar"])(
  "what is not as it was built is not published: %s",
  async (file) => {
    const { code, calls } = await publish(async (folder) => await writeFile(join(folder, file), "another"));
    expect(code).not.toBe(0);
    expect(calls).toEqual([]);
  },
);

test("what the building job runs can write nowhere, and what the publishing job has to write it has", async () => {
  const { jobs } = parse(await readFile(repositoryFile(".github/workflows/release.yaml"), "utf8"));
  const { publish: _, ...others } = jobs;
  expect(Object.keys(others)).toEqual(["build", "reliability"]);
  for (const job of Object.values<{ permissions: unknown }>(others)) {
    expect(job.permissions).toEqual({ contents: "read" });
    expect(JSON.stringify(job)).not.toMatch(/secrets\.|environment/);
  }
  expect(jobs.publish.needs).toEqual(["build", "reliability"]);
  expect(jobs.publish.permissions).toEqual({
    contents: "write",
    packages: "write",
    "id-token": "write",
    attestations: "write",
  });
  const runs = jobs.publish.steps.flatMap((step: { run?: string }) => step.run ?? []);
  expect(runs).toEqual(["scripts/ci/release-publish.sh"]);
  const attested = jobs.publish.steps.filter((step: { uses?: string }) =>
    step.uses?.includes("attest-build-provenance"),
  );
  expect(attested.map((step: { with: object }) => step.with)).toEqual([
    { "subject-checksums": "dist/release/SHA256SUMS" },
    { "subject-checksums": "dist/release-images/digests" },
  ]);
});

test("CI runs exactly the pnpm that the workspace names", async () => {
  const { packageManager } = JSON.parse(await readFile(repositoryFile("package.json"), "utf8"));
  const folder = repositoryFile("scripts/ci");
  let used = 0;
  for (const name of await readdir(folder)) {
    for (const [pnpm] of (await readFile(join(folder, name), "utf8")).matchAll(/\bpnpm@[\d.]+/g)) {
      expect(pnpm, name).toBe(packageManager);
      used += 1;
    }
  }
  expect(used).toBeGreaterThan(4);
});

test("every image begins with one base, named by its digest", async () => {
  const [, base] =
    /variable "BASE" \{\n {2}default = "([^"]+)"/.exec(await readFile(repositoryFile("docker-bake.hcl"), "utf8")) ?? [];
  expect(base).toMatch(/^node:\d+\.\d+\.\d+-slim@sha256:[0-9a-f]{64}$/);
  for (const app of APPS) {
    expect(await readFile(repositoryFile(`apps/${app}/Dockerfile`), "utf8")).toContain(`\nARG BASE=${base}\n`);
  }
});

test("the security policy stands as it is: no words in it wait to be filled in", async () => {
  const policy = await readFile(repositoryFile("SECURITY.md"), "utf8");
  expect(policy).not.toMatch(/\b(?:OWNER|REPOSITORY|REGISTRY|VERSION|TODO|TBD)\b/);
  for (const [, path = ""] of policy.matchAll(/\]\(([^)]+)\)/g)) await access(repositoryFile(path));
});
