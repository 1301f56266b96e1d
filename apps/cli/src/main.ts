#!/usr/bin/env node
/** The command line tool's process: hands the machine over to `run`. */
import { randomBytes } from "node:crypto";
import { homedir, tmpdir } from "node:os";
import { isSea } from "node:sea";
import { SYSTEM_CLOCK } from "@cluster-connect/base";
import type { TextOutput } from "./deps.ts";
import { launcherOf } from "./platform/launcher.ts";
import { proxyFetch } from "./relay/proxy-fetch.ts";
import { withSystemAuthorities } from "./relay/system-trust.ts";
import { run } from "./run.ts";
import { findHome } from "./settings/home.ts";

const output = (stream: NodeJS.WriteStream): TextOutput => ({
  write: (text) => void stream.write(text),
  isTerminal: stream.isTTY === true,
  columns: stream.columns > 0 ? stream.columns : 80,
});

// A reader that went away, as in `… | head`, is no reason to fail loudly.
process.stdout.on("error", () => process.exit(141));
process.stderr.on("error", () => {});

const home = findHome({ homedir, tmpdir, uid: process.getuid?.() });

/** Authorities (PEM) that the caller named. */
const named: string[] = [];

void run(process.argv.slice(2), {
  env: process.env,
  stdout: output(process.stdout),
  stderr: output(process.stderr),
  stdin: {
    isTerminal: process.stdin.isTTY === true,
    readAll: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks).toString("utf8");
    },
  },
  fetch: withSystemAuthorities(proxyFetch(fetch, process.env), () => trust([])),
  clock: SYSTEM_CLOCK,
  now: Date.now,
  random: Math.random,
  randomBytes,
  signals: process,
  exit: (code) => process.exit(code),
  self: launcherOf({
    env: process.env,
    execPath: process.execPath,
    execArgs: process.execArgv,
    script: isSea() ? undefined : process.argv[1],
  }),
  platform: process.platform,
  homeDir: home.path,
  isHomeless: home.isStandIn,
  pid: process.pid,
  ask:
    process.stdin.isTTY === true && process.stderr.isTTY === true
      ? async (question, { signal }) => {
          const { createInterface } = await import("node:readline/promises");
          const lines = createInterface({ input: process.stdin, output: process.stderr });
          try {
            return await lines.question(question, { signal });
          } finally {
            lines.close();
          }
        }
      : undefined,
  openBrowser: async (url) => (await import("./login/open-browser.ts")).openBrowser(url, process.platform, process.env),
  openKeyStore: async () => {
    const { openOsKeyStore } = await import("./tokens/vault/os-key-store.ts");
    return await openOsKeyStore(process.platform, process.env);
  },
  trustAuthorities: (pem) => trust([pem]),
}).then((exitCode) => {
  // Handles that a library still holds must not keep a finished command alive.
  process.stdout.write("", () => process.exit(exitCode));
});

/** Trusts these authorities, the machine's own, and those that were named before. */
function trust(more: readonly string[]): void {
  named.push(...more);
  // Loaded when it is needed: most starts make no TLS of their own.
  const { getCACertificates, rootCertificates, setDefaultCACertificates } = process.getBuiltinModule("node:tls");
  setDefaultCACertificates([
    ...new Set([...rootCertificates, ...getCACertificates("system"), ...getCACertificates("extra"), ...named]),
  ]);
}
