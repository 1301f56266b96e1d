import { chmod, cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { pollUntil } from "../../src/process/poll.ts";
import { signIn } from "../../src/stack/browser.ts";
import type { Cli } from "../../src/stack/cli.ts";
import { plainScreen } from "../support/screens/plain-screen.ts";
import { noTmux, openTmux, type TmuxTerminal } from "../support/screens/tmux.ts";
import { NO_END, useStack } from "../support/stack.ts";

const suite = useStack(async () => ({ accessTokenSeconds: 60 }));
const missing = noTmux();
const shown: { readonly title: string; readonly text: string; readonly screen: string }[] = [];

let cli: Cli;
let env: Readonly<Record<string, string>>;
let home: string;

const WAIT_MS = 120_000;

/** A command named as people type it, and a browser that only writes down what it was asked to open. */
beforeAll(async () => {
  const { stack } = suite();
  cli = await stack.cli("jane");
  home = cli.env["HOME"] ?? "";
  const bin = join(home, "bin");
  await mkdir(bin, { recursive: true });
  const [program, ...args] = cli.command;
  const script = (body: string): string => `#!/bin/sh\n${body}\n`;
  await writeFile(join(bin, "cluster-connect"), script(`exec ${program} ${args.join(" ")} "$@"`));
  await writeFile(join(bin, "browser"), script(`echo "$1" > ${join(home, "opened")}`));
  for (const name of ["cluster-connect", "browser"]) await chmod(join(bin, name), 0o755);
  env = {
    ...cli.env,
    PATH: [bin, cli.env["PATH"] ?? "", "/usr/bin", "/bin"].join(delimiter),
    BROWSER: join(bin, "browser"),
    CLUSTER_CONNECT_CA_FILE: stack.relay.caFile ?? "",
    CLUSTER_CONNECT_TOKEN_STORE: "file",
    // A person is asked; a job would be told the authority.
    CLUSTER_CONNECT_CLUSTER_CA_FILE: "",
    KUBECONFIG: join(home, ".kube", "config"),
  };
});

async function keep(title: string, text: string, terminal: TmuxTerminal): Promise<string> {
  const { stack } = suite();
  const names = { relay: stack.relay.url, issuer: stack.issuer.url, home };
  const screen = plainScreen(await terminal.screen(), names);
  shown.push({ title, text, screen });
  await terminal.clear();
  return screen;
}

test("what a person sees, from the first login to a login that ran out", async ({ skip }) => {
  skip(missing !== undefined, missing);
  const { stack, folder } = suite();
  const one = await openTmux(folder, "one", env);

  await one.start(`cluster-connect login --relay ${stack.relay.url}`, /Sign in in the browser/);
  const opened = async (): Promise<string | undefined> =>
    (await readFile(join(home, "opened"), "utf8").catch(() => "")).match(/^http.*\n/)?.[0];
  const address = await pollUntil(opened, { signal: AbortSignal.timeout(WAIT_MS) });
  await signIn(address.trim(), "viewer", { signal: NO_END }, { fetch });
  await one.idle();
  expect(await keep("First login", "The browser opens by itself; the relay says where to sign in.", one)).toContain(
    "Logged in at https://relay.example.com as viewer",
  );

  await one.run("cluster-connect clusters");
  await keep("Clusters", "What you may reach, and how it is.", one);

  await one.run("cluster-connect proxy -n dmo");
  expect(await keep("A wrong name", "The nearest name is offered.", one)).toContain("hint: Did you mean demo?");

  await one.start("cluster-connect proxy -n demo --port 0", /Type yes, or the fingerprint, to trust it:/);
  await one.type("yes");
  await one.shows(/Ctrl-C ends it/);
  const started = plainScreen(await one.screen(), { relay: stack.relay.url, issuer: stack.issuer.url, home });
  expect(started).toContain("ready: kube-apiserver v");
  const note = "A cluster that was never seen is a question; the proxy is ready when the kube-apiserver has answered.";
  shown.push({ title: "Proxy", text: note, screen: started });

  const two = await openTmux(folder, "two", env);
  await two.run("kubectl auth whoami -o jsonpath='{.status.userInfo.username}{\"\\n\"}'");
  await two.run("kubectl get namespaces default -o name");
  expect(await keep("kubectl, in another terminal", "Your own identity, decided by the cluster.", two)).toMatch(
    /viewer\n.*\nnamespace\/default/,
  );

  const busy = /127\.0\.0\.1:(\d+)/.exec(await one.screen())?.[1] ?? "";
  await two.run(`cluster-connect proxy -n demo --port ${busy}`);
  expect(await keep("A port that is in use", "The process that has it is named.", two)).toMatch(
    /Port 47011 is in use by process 4711 \(\S*node /,
  );

  await stack.agent.stop();
  await two.run("cluster-connect run -n demo --wait 1s -- kubectl get namespaces");
  expect(await keep("The agent is offline", "A command that cannot begin says which hop is missing.", two)).toContain(
    "CC_AGENT_OFFLINE",
  );
  // The relay writes down now and then when it last saw an agent.
  const seen = async (): Promise<true | undefined> =>
    JSON.parse((await cli.run(["clusters", "-o", "json"])).stdout).clusters[0].lastSeenAt === null ? undefined : true;
  await pollUntil(seen, { signal: AbortSignal.timeout(WAIT_MS) });
  await two.run("cluster-connect clusters");
  await keep("The agent is offline, in the list", "", two);
  await two.run("kubectl get namespaces");
  await two.clear();
  await stack.agent.start();
  await one.press("C-c");
  await one.idle();
  expect(await keep("The agent was offline, on the proxy's screen; then Ctrl-C", "", one)).toMatch(
    /CC_AGENT_OFFLINE[\s\S]*\^C\n.* Ended; demo is out of ~\/\.kube\/config again$/,
  );

  await two.run("cluster-connect doctor");
  expect(await keep("Doctor", "Every hop, as far as it can.", two)).toMatch(/^ok +demo: identity/m);

  // The login is there, but its issuer has ended it meanwhile.
  const state = join(home, "state");
  await cp(state, join(home, "kept-state"), { recursive: true });
  await cli.run(["logout"]);
  await rm(state, { recursive: true });
  await cp(join(home, "kept-state"), state, { recursive: true });
  await pollUntil(async () => ((await cli.run(["clusters"])).code === 0 ? undefined : true), {
    signal: AbortSignal.timeout(WAIT_MS),
  });
  await two.run("cluster-connect proxy -n demo");
  expect(await keep("A login that ran out", "The next command is named.", two)).toContain("cluster-connect login");
  await expect(page()).toMatchFileSnapshot("../../../docs/screens.md");
});

/** The documentation's page, made of what was shown. */
function page(): string {
  const parts = shown.map(({ title, text, screen }) =>
    [`## ${title}`, text, `\`\`\`console\n${screen}\n\`\`\``].filter((part) => part !== "").join("\n\n"),
  );
  return `${[HEAD, ...parts].join("\n\n")}\n`;
}

const HEAD = `# Screens

What a person sees, taken from a terminal by \`e2e/suites/connect/cli-screens.e2e.test.ts\`, with addresses, numbers and times replaced. The test fails when a screen changes; with \`-u\` it writes this page again.`;
