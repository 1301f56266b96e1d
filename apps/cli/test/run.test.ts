import { ConnectError, ERRORS } from "@cluster-connect/protocol";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { run } from "../src/run.ts";
import { writeFailure } from "../src/terminal/failure.ts";
import { createStyle } from "../src/terminal/style.ts";
import { testCli } from "./support/cli.ts";
import { startRelay } from "./support/relay.ts";
import { unsignedToken } from "./support/tokens.ts";

test("a wrong flag is named in one line, with how to get help, and exits with 2", async () => {
  const cli = testCli("/nowhere");
  expect(await cli.run("proxy", "--prot", "1")).toBe(2);
  expect(cli.err()).toBe(
    "error: unknown option '--prot' (Did you mean --port?) (CC_USAGE)\nhint: Run `cluster-connect proxy --help`.\n",
  );
  expect(cli.out()).toBe("");
});

test("a wrong command is named, with the one that was probably meant", async () => {
  const cli = testCli("/nowhere");
  expect(await cli.run("proxi")).toBe(2);
  expect(cli.err()).toContain("error: unknown command 'proxi' (Did you mean proxy?) (CC_USAGE)\n");
  expect(cli.err()).toContain("hint: Run `cluster-connect --help`.\n");
});

test.each([
  ["kubeconfig ad", "unknown command 'ad' (Did you mean add?)", "kubeconfig --help"],
  ["kubeconfig add --foo", "unknown option '--foo'", "kubeconfig add --help"],
  ["admin grants", "A command is missing", "admin grants --help"],
  ["admin grants check", "required option '--user <name>' not specified", "admin grants check --help"],
  ["exit-codes --foo", "unknown option '--foo'", "exit-codes --help"],
  ["--relay clusters proxi", "unknown option '--relay'", "clusters --help"],
  ["help proxi", "unknown command 'proxi'", "--help"],
  ["help kubeconfig ad", "unknown command 'ad'", "kubeconfig --help"],
  ["admin clusters label prod", "missing required argument 'labels'", "admin clusters label --help"],
  ["proxy -n a -n b --kube-context c", "--kube-context", "proxy --help"],
])("what is wrong with `%s` is said, and which command's help says more", async (line, message, help) => {
  const cli = testCli(await temporaryFolder(), { env: { CLUSTER_CONNECT_RELAY: "https://relay.test" } });
  expect(await cli.run(...line.split(" "))).toBe(2);
  expect(cli.err()).toContain(`error: ${message}`);
  expect(cli.err()).toContain(`\nhint: Run \`cluster-connect ${help}\`.\n`);
});

test("a flag without its value, and a choice that does not exist, are named", async () => {
  const cli = testCli("/nowhere");
  expect(await cli.run("proxy", "-n")).toBe(2);
  expect(cli.err()).toContain("option '-n, --name <name>' argument missing (CC_USAGE)");
  expect(await cli.run("clusters", "-o", "xml")).toBe(2);
  expect(cli.err()).toContain("Allowed choices are table, json, yaml, name. (CC_USAGE)");
});

test("without a relay the command says how to name one", async () => {
  const cli = testCli(await temporaryFolder());
  expect(await cli.run("clusters")).toBe(2);
  expect(cli.err()).toContain("error: No relay is named (CC_USAGE)\n");
});

test("a relay address that is none is told by where it came from", async () => {
  const cli = testCli(await temporaryFolder(), { env: { CLUSTER_CONNECT_RELAY: "ftp://relay" } });
  expect(await cli.run("clusters")).toBe(2);
  expect(cli.err()).toContain("CLUSTER_CONNECT_RELAY is no relay address: the scheme is ftp (CC_USAGE)");
  expect(await cli.run("clusters", "--relay", "http://relay.example.com")).toBe(2);
  expect(cli.err()).toContain("--relay is no relay address: http works on this machine only");
});

test("with --output json an error is JSON too", async () => {
  const cli = testCli(await temporaryFolder());
  expect(await cli.run("clusters", "-o", "json", "--relay", "https://relay.test")).toBe(30);
  expect(JSON.parse(cli.err())).toEqual({
    error: {
      code: "CC_NOT_LOGGED_IN",
      message: "You are not logged in at https://relay.test",
      hint: "Run `cluster-connect login --relay https://relay.test`, then repeat the command.",
      exit: 30,
    },
  });
});

test("every error has a line that names it, a hint and its own exit code", () => {
  for (const [code, { exit }] of Object.entries(ERRORS)) {
    const cli = testCli("/nowhere");
    const error = new ConnectError(code as keyof typeof ERRORS, "what was wrong");
    expect(writeFailure(error, { json: false, verbose: false }, cli.deps)).toBe(exit);
    expect(cli.err()).toMatch(new RegExp(`^error: what was wrong \\(${code}\\)\nhint: .+\n$`));
  }
});

test("colours are for terminals that want them", () => {
  const error = new ConnectError("CC_USAGE", "wrong");
  const base = testCli("/nowhere");
  const written: string[] = [];
  const stderr = { write: (text: string) => void written.push(text), isTerminal: true, columns: 80 };
  writeFailure(error, { json: false, verbose: false }, { stderr, env: {} });
  expect(written.join("")).toContain("\u001b[");
  written.length = 0;
  writeFailure(error, { json: false, verbose: false }, { stderr, env: { NO_COLOR: "1" } });
  writeFailure(error, { json: false, verbose: false }, { stderr, env: { TERM: "dumb" } });
  writeFailure(error, { json: false, verbose: false }, base.deps);
  expect(written.join("") + base.err()).not.toContain("\u001b[");
});

test("causes are shown with -v, without texts that others wrote", () => {
  const cli = testCli("/nowhere");
  const cause = Object.assign(new Error("a secret that somebody sent"), { code: "ECONNRESET" });
  const error = new ConnectError("CC_RELAY_UNREACHABLE", "gone", { cause });
  writeFailure(error, { json: false, verbose: true }, cli.deps);
  expect(cli.err()).toContain("cause: Error ECONNRESET\n");
  expect(cli.err()).not.toContain("secret");
});

test("on a terminal an error takes the place of what was being waited for", async () => {
  const relay = await startRelay();
  const cli = testCli(await temporaryFolder(), {
    env: { CLUSTER_CONNECT_TOKEN: unsignedToken(), CLUSTER_CONNECT_RELAY_TOKEN: unsignedToken(), NO_COLOR: "1" },
  });
  const terminal = { ...cli.deps.stderr, isTerminal: true };
  expect(await run(["proxy", "-n", "nope", "--relay", relay.url], { ...cli.deps, stderr: terminal })).toBe(4);
  expect(cli.err()).toContain(`… asking ${relay.host} for clusters\r\u001b[Kerror: ${relay.url} knows no cluster nope`);
});

test("-vv tells each request without anything secret, -v does not", async () => {
  const relay = await startRelay();
  await relay.addCluster("prod");
  const token = unsignedToken();
  const env = { CLUSTER_CONNECT_RELAY: relay.url, CLUSTER_CONNECT_RELAY_TOKEN: token };
  const loud = testCli("/nowhere", { env });
  expect(await loud.run("clusters", "-vv")).toBe(0);
  expect(loud.err()).toMatch(/^trace: GET http:\/\/\S+\/v1\/clusters 200 after \d+ ms\n$/);
  expect(loud.err() + loud.out()).not.toContain(token);
  const plain = testCli("/nowhere", { env });
  expect(await plain.run("clusters", "-v")).toBe(0);
  expect(plain.err()).toBe("");
});

test.each([
  ["on a terminal", { isTerminal: true, env: {} }, true],
  ["with NO_COLOR", { isTerminal: true, env: { NO_COLOR: "1" } }, false],
  ["with an empty NO_COLOR", { isTerminal: true, env: { NO_COLOR: "" } }, true],
  ["on a dumb terminal", { isTerminal: true, env: { TERM: "dumb" } }, false],
  ["in a file", { isTerminal: false, env: {} }, false],
])("colours %s", (_name, { isTerminal, env }, coloured) => {
  const style = createStyle({ write: () => {}, isTerminal, columns: 80 }, env);
  expect(style.bad("x") !== "x").toBe(coloured);
});
