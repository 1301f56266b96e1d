import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, onTestFinished, test } from "vitest";
import { loginKey } from "../src/tokens/vault/token-cache.ts";
import { startIssuer } from "./support/issuer.ts";
import { createUser, type OtherUser } from "./support/other-user.ts";
import { startRelay } from "./support/relay.ts";

const [FIRST, SECOND] = [64_001, 64_002];

/** Every file below a folder that this user can read, as far as it can look. */
async function readable(user: OtherUser, ...folders: readonly string[]): Promise<readonly string[]> {
  const { out } = await user.start("find", [...folders, "-type", "f", "-readable"]).ended;
  return out.split("\n").filter((path) => path !== "");
}

/** A process in the background outlives a test that fails. */
function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended, as it should.
  }
}

test("a second user of the machine reads nothing of the first one's logins, kubeconfigs and proxies", async ({
  skip,
}) => {
  skip(process.getuid?.() !== 0, "only root can start processes as two other users");
  const parent = await temporaryFolder();
  await chmod(parent, 0o755);
  const shared = join(parent, "tmp");
  await mkdir(shared);
  await chmod(shared, 0o1777);
  const relay = await startRelay();
  const issuer = await startIssuer();
  relay.login = issuer.settings;
  await relay.addCluster("prod");
  const named = { ...relay.trusted(), CLUSTER_CONNECT_RELAY_AUDIENCE: issuer.settings.audiences.relay };
  const [first, second] = [
    await createUser(parent, FIRST, shared, named),
    await createUser(parent, SECOND, shared, named),
  ];

  const login = first.cli("login", "--relay", relay.url, "--device-code");
  await issuer.signIn(await login.said(/or open (\S+)/));
  expect((await login.ended).code).toBe(0);
  expect((await first.cli("kubeconfig", "add", "-n", "prod").ended).code).toBe(0);
  const detached = await first.cli("proxy", "-n", "prod", "--port", "0", "--detach").ended;
  const pid = Number(/process (\d+)/.exec(detached.err)?.[1]);
  onTestFinished(() => endProcess(pid));
  // While a command runs, its kubeconfig is in a folder that all users share.
  const running = first.cli("run", "-n", "prod", "--", "sh", "-c", 'echo "at $KUBECONFIG" >&2; exec sleep 600');
  const kubeconfig = await running.said(/^at (\S+)$/m);
  expect(kubeconfig.startsWith(shared)).toBe(true);

  const own = await readable(first, first.home, shared);
  expect(own).toContain(kubeconfig);
  expect(own.some((path) => path.includes("/logins/"))).toBe(true);
  expect(own.some((path) => path.includes("/proxies/"))).toBe(true);
  expect(own.some((path) => path.endsWith("/.kube/config"))).toBe(true);
  const seen = await readable(second, first.home, shared);
  expect(seen).toEqual([]);

  const stolen = await second.start("cat", [kubeconfig]).ended;
  expect(stolen.code).not.toBe(0);
  expect((await second.cli("credential", "--relay", relay.url).ended).code).toBe(30);
  expect((await second.cli("status", "-o", "name").ended).out).toBe("");
  await second.cli("stop", "--all").ended;
  expect((await first.cli("status", "-o", "name").ended).out).toBe("prod\n");
  running.stop();
  await running.ended;
  expect((await first.cli("stop", "--all").ended).code).toBe(0);
});

test("a login that its owner may not remove is named with the reason", async ({ skip }) => {
  skip(process.getuid?.() !== 0, "only root can start processes as another user");
  const parent = await temporaryFolder();
  await chmod(parent, 0o755);
  const user = await createUser(parent, FIRST, parent);
  const logins = join(user.home, ".local/state/cluster-connect/logins");
  await mkdir(logins, { recursive: true });
  // Both folders stay root's, as in a home that is mounted read-only.
  const path = join(logins, `${loginKey("https://relay.test")}.json`);
  await writeFile(path, "{}");
  const { code, err } = await user.cli("logout", "--relay", "https://relay.test").ended;
  expect(code).toBe(62);
  expect(err).toContain(`error: ${path} cannot be removed: permission denied (CC_FILE_UNREADABLE)\n`);
});
