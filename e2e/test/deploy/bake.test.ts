import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { repositoryFile } from "../../src/stack/repository-file.ts";

const FILE = repositoryFile("docker-bake.hcl");
const bake = await readFile(FILE, "utf8");

/** The strings of a list behind a name: `name = ["a", "b"]`. */
function list(name: string): readonly string[] {
  const [, inside = ""] = new RegExp(`\\b${name}\\s*=\\s*\\[([^\\]]*)\\]`).exec(bake) ?? [];
  return [...inside.matchAll(/"([^"]*)"/g)].map(([, text = ""]) => text);
}

/** The string behind a name, for one app. */
function text(name: string, app: string): string {
  const [, value] = new RegExp(`^\\s*${name}\\s*=\\s*"([^"]*)"`, "m").exec(bake) ?? [];
  // biome-ignore lint/suspicious/noTemplateCurlyInString: HCL writes it so
  return (value ?? expect.fail(`no ${name} in docker-bake.hcl`)).replaceAll("${app}", app);
}

/** The names of what is inside `name = { … }`. */
function keys(name: string): readonly string[] {
  const [, inside = ""] = new RegExp(`\\b${name}\\s*=\\s*{([^}]*)}`).exec(bake) ?? [];
  return [...inside.matchAll(/(\w+)\s*=/g)].map(([, key = ""]) => key);
}

test("every app that has a Dockerfile is built for both platforms, under a name of its own", async () => {
  const folders = await readdir(repositoryFile("apps"));
  const apps = folders.filter((app) => existsSync(repositoryFile(join("apps", app, "Dockerfile"))));
  expect(list("app").toSorted()).toEqual(apps.toSorted());
  expect(list("platforms")).toEqual(["linux/amd64", "linux/arm64"]);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: HCL writes it so
  expect(list("tags")).toEqual(["${PREFIX}${app}:${VERSION}"]);
});

test.each(list("app"))("the Dockerfile of %s takes each argument, from a variable of that name", async (app) => {
  const context = text("context", app);
  expect(context).toBe(`dist/images/${app}`);
  const dockerfile = await readFile(repositoryFile(join(context, text("dockerfile", app))), "utf8");
  expect(keys("args")).toEqual(["BASE", "VERSION", "REVISION"]);
  for (const name of keys("args")) {
    expect(bake).toMatch(new RegExp(`^variable "${name}" {`, "m"));
    expect(dockerfile).toMatch(new RegExp(`^ARG ${name}=`, "m"));
  }
  // A RUN at the build of an image would need each platform's own processor, or an emulator.
  expect(dockerfile).not.toMatch(/^RUN /m);
});

test("braces and brackets are closed", () => {
  for (const [open, close] of ["{}", "[]", "()"])
    expect(bake.split(open ?? "").length).toBe(bake.split(close ?? "").length);
});
