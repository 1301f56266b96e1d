import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createMemoryLogSink } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { checkFiles } from "../../src/commands/check-config.ts";
import { loadRelayConfig } from "../../src/config.ts";

async function stage(settings: string) {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "grants"));
  const jwt = "[{issuer: {url: https://i.test, audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]";
  const kind = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
  await writeFile(join(folder, "authentication.yaml"), `${kind}jwt: ${jwt}\n`);
  const text = `publicUrl: https://r.test\ndataDir: ${folder}\nauthenticationConfig: ${folder}/authentication.yaml\n`;
  await writeFile(join(folder, "relay.yaml"), text + settings.replaceAll("$", folder));
  return { folder, config: await loadRelayConfig({ file: join(folder, "relay.yaml"), env: {} }) };
}

test("settings whose files are all there pass", async () => {
  const { config } = await stage("grantsDir: $/grants\n");
  await checkFiles(config, { logs: createMemoryLogSink(), env: {} });
});

test("every file that is wrong is named in one error", async () => {
  const { folder, config } = await stage(
    "grantsDir: $/grants\nwebhook: {url: https://w.test, secretFile: $/one}\naudit: {webhook: {url: https://a.test, secretFile: $/two}}\n",
  );
  await writeFile(join(folder, "grants", "a.yaml"), "grants: [{name: x}]");
  await expect(checkFiles(config, { logs: createMemoryLogSink(), env: {} })).rejects.toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: expect.stringMatching(
      /a\.yaml: grants\[0\]\.clusters: .*webhook\.secretFile: .*audit\.webhook\.secretFile: /,
    ),
  });
});

test("a single problem keeps its own code", async () => {
  const { config } = await stage("grantsDir: $/nowhere\n");
  await expect(checkFiles(config, { logs: createMemoryLogSink(), env: {} })).rejects.toMatchObject({
    code: "CC_FILE_MISSING",
  });
});

const login = (relay: string, cluster: string): string =>
  `login: {issuer: https://i.test, clientId: c, audiences: {relay: "${relay}", cluster: "${cluster}"}}\n`;

test.each([
  ["the same", "clusters", "clusters"],
  ["the one of a cluster", "clusters/prod", "clusters/{cluster}"],
])("a relay's audience that is %s as a cluster's is refused", async (_what, relay, cluster) => {
  await expect(stage(login(relay, cluster))).rejects.toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: expect.stringMatching(/login\.audiences\.relay: .*another audience than the clusters'/),
  });
});

test.each(["a", "{cluster}"])("a token's audience that counts at clusters (%s) too is refused", async (cluster) => {
  const { config } = await stage(login("https://r.test", cluster));
  await expect(checkFiles(config, { logs: createMemoryLogSink(), env: {} })).rejects.toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: expect.stringContaining("authenticationConfig: the audience a is the clusters'"),
  });
});

test("an audience for each cluster beside the relay's own passes", async () => {
  const { config } = await stage(login("https://r.test", "clusters/{cluster}"));
  await checkFiles(config, { logs: createMemoryLogSink(), env: {} });
});

const HOOKS =
  "webhook: {url: https://w.test, secretFile: $/one}\naudit: {webhook: {url: https://a.test, secretFile: $/two}}\n";

test.each([
  ["is empty", " \n", "another-secret", /webhook\.secretFile: .* is empty/],
  [
    "is the audit's too",
    "same-secret\n",
    "same-secret",
    /webhook\.secretFile and audit\.webhook\.secretFile hold the same/,
  ],
])("a secret that %s is refused", async (_what, one, two, message) => {
  const { folder, config } = await stage(HOOKS);
  await writeFile(join(folder, "one"), one);
  await writeFile(join(folder, "two"), two);
  await expect(checkFiles(config, { logs: createMemoryLogSink(), env: {} })).rejects.toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: expect.stringMatching(message),
  });
});

test("two secrets pass", async () => {
  const { folder, config } = await stage(HOOKS);
  await writeFile(join(folder, "one"), "one\n");
  await writeFile(join(folder, "two"), "two\n");
  await checkFiles(config, { logs: createMemoryLogSink(), env: {} });
});

test.each([
  ["the sealing one, in a file", "keyFile: $/one", "audit.seal.keyFile"],
  ["a former sealing one", `key: ${"s".repeat(64)}, formerKeyFiles: [$/one]`, "audit.seal.formerKeyFiles"],
])("a receiver's secret that is %s is refused: the receiver could seal the audit", async (_what, seal, setting) => {
  const { folder, config } = await stage(
    `webhook: {url: https://w.test, secretFile: $/one}\naudit: {seal: {${seal}}}\n`,
  );
  await writeFile(join(folder, "one"), "0123456789abcdef".repeat(4));
  await expect(checkFiles(config, { logs: createMemoryLogSink(), env: {} })).rejects.toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: `webhook.secretFile and ${setting} hold the same secret`,
  });
});

test("a receiver's secret that is the sealing one of the environment is refused", async () => {
  const key = "0123456789abcdef".repeat(4);
  const { folder, config } = await stage(
    `webhook: {url: https://w.test, secretFile: $/one}\naudit: {seal: {key: ${key}}}\n`,
  );
  await writeFile(join(folder, "one"), `${key}\n`);
  await expect(checkFiles(config, { logs: createMemoryLogSink(), env: {} })).rejects.toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: "audit.seal.key and webhook.secretFile hold the same secret",
  });
});
