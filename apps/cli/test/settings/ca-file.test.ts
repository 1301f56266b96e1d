import { X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@cluster-connect/testkit";
import { expect, test } from "vitest";
import { chooseRelay } from "../../src/relay/choice.ts";
import { createAuthority } from "../support/certificates.ts";
import { testCli } from "../support/cli.ts";

const BAD = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

async function trusted(content: string | Uint8Array): Promise<string> {
  const folder = await temporaryFolder();
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

const fingerprints = (pem: string): readonly string[] =>
  pem.split(/(?=-----BEGIN)/).map((block) => new X509Certificate(block).fingerprint256);

test("comments in an old encoding, and files of Windows, are no obstacle", async () => {
  const { pem } = await createAuthority();
  const latin1 = Buffer.from(`# M\u00fcller AG\n${pem}`, "latin1");
  const utf16 = Buffer.from(`\ufeff${pem}`, "utf16le");
  for (const content of [latin1, utf16]) expect(fingerprints(await trusted(content))).toEqual(fingerprints(pem));
});

test("OpenSSL's trusted form is taken for the certificate in it", async () => {
  const { pem } = await createAuthority();
  const der = new X509Certificate(pem).raw;
  const extra = Buffer.from("300c300a06082b06010505070301", "hex");
  const body = Buffer.concat([der, extra]).toString("base64");
  const text = `-----BEGIN TRUSTED CERTIFICATE-----\n${body}\n-----END TRUSTED CERTIFICATE-----\n`;
  expect(fingerprints(await trusted(text))).toEqual(fingerprints(pem));
});

test("a file in DER is named as such, with the command that converts it", async () => {
  const { pem } = await createAuthority();
  await expect(trusted(new X509Certificate(pem).raw)).rejects.toMatchObject({
    code: "CC_FILE_UNREADABLE",
    message: expect.stringMatching(/ca\.pem is in DER, not in PEM$/),
    hint: expect.stringContaining("openssl x509 -inform der"),
  });
});

test("one certificate that cannot be read does not keep the others out", async () => {
  const { pem } = await createAuthority();
  expect(fingerprints(await trusted(`${BAD}${pem}`))).toEqual(fingerprints(pem));
});
