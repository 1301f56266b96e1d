#!/usr/bin/env node
/** The command line tool's process: hands the machine over to `run`. */
import { homedir } from "node:os";
import { isSea } from "node:sea";
import type { TextOutput } from "./deps.ts";
import { fetchProxies, withProxySettings } from "./proxy-settings.ts";
import { run } from "./run.ts";
import { withSystemAuthorities } from "./system-trust.ts";

declare module "node:http" {
  /** In Node since 24.14; not yet in its types. */
  export function setGlobalProxyFromEnv(env?: Readonly<Record<string, string | undefined>>): () => void;
}

const output = (stream: NodeJS.WriteStream): TextOutput => ({
  write: (text) => void stream.write(text),
  isTerminal: stream.isTTY === true,
  columns: stream.columns > 0 ? stream.columns : 80,
});

// A reader that went away, as in `… | head`, is no reason to fail loudly.
process.stdout.on("error", () => process.exit(141));
process.stderr.on("error", () => {});

const proxies = fetchProxies(process.env);
if (proxies !== undefined) process.getBuiltinModule("node:http").setGlobalProxyFromEnv(proxies);
const fetchByProxy = proxies === undefined ? fetch : withProxySettings(fetch, process.env);

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
  fetch: withSystemAuthorities(fetchByProxy, () => trust([])),
  // The same as framing's, which is a lot to load before help or a kept token is shown.
  clock: {
    now: () => performance.now(),
    setTimer(delayMs, fire) {
      const timer = setTimeout(fire, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
  },
  now: Date.now,
  random: Math.random,
  signals: process,
  exit: (code) => process.exit(code),
  // A single executable is its own script.
  self: { command: process.execPath, args: isSea() ? [] : [...process.execArgv, process.argv[1] ?? ""] },
  platform: process.platform,
  homeDir: homedir(),
  pid: process.pid,
  openBrowser: async (url) => (await import("./login/open-browser.ts")).openBrowser(url, process.platform, process.env),
  openKeyStore: async () => {
    const { openOsKeyStore } = await import("./tokens/os-key-store.ts");
    return await openOsKeyStore(process.platform, process.env);
  },
  trustAuthorities: (pem) => trust([pem]),
}).then((exitCode) => {
  // Whatever a library still holds must not keep a finished command alive.
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
