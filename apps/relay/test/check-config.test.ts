import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkFiles } from "../src/check-config.ts";
import { loadRelayConfig } from "../src/config.ts";
import { temporaryFolder } from "./support/folder.ts";

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
  await checkFiles(config);
});

test("every file that is wrong is named in one error", async () => {
  const { folder, config } = await stage(
    "grantsDir: $/grants\nwebhook: {url: https://w.test, secretFile: $/one}\naudit: {webhook: {url: https://a.test, secretFile: $/two}}\n",
  );
  await writeFile(join(folder, "grants", "a.yaml"), "grants: [{name: x}]");
  await expect(checkFiles(config)).rejects.toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: expect.stringMatching(
      /a\.yaml: grants\[0\]\.clusters: .*webhook\.secretFile: .*audit\.webhook\.secretFile: /,
    ),
  });
});

test("a single problem keeps its own code", async () => {
  const { config } = await stage("grantsDir: $/nowhere\n");
  await expect(checkFiles(config)).rejects.toMatchObject({ code: "CC_FILE_MISSING" });
});
