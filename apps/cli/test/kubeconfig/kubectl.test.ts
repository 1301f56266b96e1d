import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseKubeconfig } from "../../src/kubeconfig/document.ts";
import type { KubeconfigEntry } from "../../src/kubeconfig/entry.ts";
import { readKubeconfig } from "../../src/kubeconfig/file.ts";

const hasKubectl = spawnSync("kubectl", ["version", "--client"], { stdio: "ignore" }).status === 0;

/** Words and numbers of YAML 1.1, and what is syntax somewhere. */
const ODD = [
  ...[
    "y",
    "n",
    "Y",
    "N",
    "yes",
    "No",
    "ON",
    "off",
    "true",
    "False",
    "null",
    "Null",
    "~",
    "NaN",
    ".nan",
    ".inf",
    "-.INF",
  ],
  ...["0", "0123", "0o17", "0x1F", "0b11", "1_000", "1e3", "1E3", "+1", "-1", "1.", ".5", "12:34:56", "190:20:30"],
  ...[
    "2026-11-30",
    "2026-11-30T06:50:25Z",
    "=",
    "<<",
    "!",
    "&a",
    "*a",
    "- a",
    "a: b",
    "a #b",
    "#a",
    "?",
    "? a",
    ":",
    "-",
  ],
  ...[
    "---",
    "...",
    "%a",
    "@a",
    "`a",
    "'a",
    '"a',
    "a'b",
    'a"b',
    "\\",
    "a\\n",
    "{}",
    "[]",
    "{a",
    "a,b",
    "|",
    ">",
    " a",
    "a ",
  ],
  ...["ü", "集群", "🚀", "\u00a0a", "a\u0300", "arn:aws:eks:eu-west-1:1:cluster/prod", "user@host", "a/b", "a=b"],
  "x".repeat(300),
  `${"word ".repeat(60)}end`,
];

function entryOf(text: string, index: number): KubeconfigEntry {
  return {
    name: `cluster-connect/${index}/${text}`,
    context: text,
    port: 1,
    serverName: text,
    authorities: text,
    credential: { command: text, args: [text, `--flag=${text}`], env: { HOME: text } },
  };
}

/** Kubectl's view of a file. */
function viewOf(
  path: string,
): Readonly<Record<"clusters" | "contexts" | "users", readonly Readonly<Record<string, unknown>>[]>> {
  const text = execFileSync("kubectl", ["--kubeconfig", path, "config", "view", "--raw", "-o", "json"], {
    encoding: "utf8",
    maxBuffer: 64 * 1_024 * 1_024,
  });
  return JSON.parse(text);
}

test.runIf(hasKubectl)("whatever its names, kubectl reads back what is written", async () => {
  const path = join(await temporaryFolder(), "config");
  const name = fc.oneof(
    fc.constantFrom(...ODD),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).filter((text) => !/[\p{Cc}\p{Cs}]/u.test(text)),
    fc.stringMatching(/^[\w.:+-]{1,12}$/),
    fc.string({
      unit: fc.constantFrom("a", " ", "\u2028", "\u0085", "\ufeff", "\u007f", ":", "#", "'", '"'),
      minLength: 1,
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(name, { minLength: 20, maxLength: 200 }), async (drawn) => {
      const names = [...new Set([...ODD, ...drawn])];
      const entries = names.map(entryOf);
      const document = parseKubeconfig("", path);
      document.add(entries);
      await writeFile(path, document.toString());
      const view = viewOf(path);
      const contexts = new Map(view.contexts.map((one) => [one["name"], one["context"]]));
      const users = new Map(view.users.map((one) => [one["name"], one["user"]]));
      expect(view.clusters).toHaveLength(entries.length);
      for (const entry of entries) {
        expect(contexts.get(entry.context)).toEqual({ cluster: entry.name, user: entry.name });
        expect(users.get(entry.name)).toMatchObject({
          exec: {
            command: entry.credential.command,
            args: entry.credential.args,
            env: [{ name: "HOME", value: entry.context }],
            provideClusterInfo: false,
          },
        });
      }
      // And so do we, after another round.
      const again = parseKubeconfig(document.toString(), path);
      expect(entries.filter((entry) => !again.hasContext(entry.context))).toEqual([]);
    }),
    { numRuns: 10 },
  );
});

const FILE = "contexts:\n- name: office\n  context: {cluster: office, user: jane}\ncurrent-context: office\n";
const utf16 = (text: string): Buffer => Buffer.from(`\ufeff${text}`, "utf16le");
const SAMPLES: readonly (readonly [string, Buffer])[] = [
  ["UTF-8", Buffer.from(FILE)],
  ["UTF-8 with a mark", Buffer.from(`\ufeff${FILE}`)],
  ["UTF-16, as PowerShell writes", utf16(FILE.replaceAll("\n", "\r\n"))],
  ["UTF-16, the other way round", utf16(FILE).swap16()],
  ["doubled keys", Buffer.from(`contexts: []\ncurrent-context: a\n${FILE}`)],
  ["several documents", Buffer.from(`${FILE}---\ncurrent-context: b\n---\n`)],
  [
    "aliases",
    Buffer.from(`x: &x\n${FILE.split("\n").slice(1, 3).join("\n")}\ncontexts: *x\ncurrent-context: office\n`),
  ],
  ["JSON", Buffer.from('{"current-context": "office", "contexts": [{"name": "office", "context": {}}]}')],
  ["tabs between words", Buffer.from(FILE.replace("name: office", "name:\toffice"))],
];

test.each(SAMPLES)("a file in %s is read, changed, and read by kubectl again", async (_, bytes) => {
  const folder = join(await temporaryFolder(), "a folder");
  await mkdir(folder);
  const path = join(folder, "config");
  await writeFile(path, bytes);
  const document = await readKubeconfig(path);
  expect(document?.currentContext).toBe("office");
  document?.add([entryOf("prod", 1)]);
  if (hasKubectl) {
    expect(viewOf(path)).toMatchObject({ "current-context": "office", contexts: [{ name: "office" }] });
    await writeFile(path, document?.toString() ?? "");
    expect(viewOf(path)).toMatchObject({ "current-context": "prod", contexts: [{ name: "office" }, { name: "prod" }] });
  }
});
