import { X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chooseRelay } from "../../src/settings/relay-choice.ts";
import { createAuthority } from "../support/certificates.ts";
import { testCli } from "../support/cli.ts";
import { tempFolder } from "../support/temp-folder.ts";

const BAD = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

async function trusted(content: string): Promise<string> {
  const folder = await tempFolder();
  const caFile = join(folder, "ca.pem");
  await writeFile(caFile, content);
  const given: string[] = [];
  const { deps } = testCli(folder);
  await chooseRelay({ relay: "https://relay.test", caFile }, { ...deps, trustAuthorities: (pem) => given.push(pem) });
  return given.join("");
}

test("certificates that were joined without a line between them are all trusted", async () => {
  const [one, two] = [await createAuthority(), await createAuthority()];
  const pem = await trusted(`# ours${one.pem.trimEnd()}${two.pem.trimEnd()}`);
  const found = pem.split(/(?=-----BEGIN)/).map((block) => new X509Certificate(block).fingerprint256);
  expect(found).toEqual([one.pem, two.pem].map((block) => new X509Certificate(block).fingerprint256));
});

test.each([
  ["a text without one", "hello", "holds no certificate in PEM"],
  ["a broken one", BAD, "holds a certificate that cannot be read"],
])("%s is refused, and the file is named", async (_, content, reason) => {
  await expect(trusted(content)).rejects.toMatchObject({
    code: "CC_FILE_UNREADABLE",
    message: expect.stringMatching(new RegExp(`ca\\.pem ${reason}$`)),
  });
});
