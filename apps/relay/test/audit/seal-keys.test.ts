import { generateKeyPairSync, randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createMemoryLogSink } from "@cluster-connect/service/testing";
import { temporaryFolder } from "@cluster-connect/testkit";
import { describe, expect, test, vi } from "vitest";
import { createCommandKey } from "../../src/audit/seal-command.ts";
import { openSealKeys, SEAL_SCHEMA } from "../../src/audit/seal-keys.ts";
import { checkFiles } from "../../src/commands/check-config.ts";
import { loadRelayConfig } from "../../src/config.ts";
import { runRelay } from "../../src/run.ts";
import { SEALED_EVENT } from "../../src/store/queries/audit-seals.ts";
import { ask } from "../support/admin.ts";
import { startFixture } from "../support/fixture.ts";
import { rewriteAudit } from "../support/tamper.ts";

/** A program of a key service's kind: what it does with the text on its stdin is the body of a shell script. */
async function program(body: string): Promise<string> {
  const file = join(await temporaryFolder(), "seal.sh");
  await writeFile(file, `#!/bin/sh\n${body}\n`);
  await chmod(file, 0o700);
  return file;
}

describe("a command that seals", () => {
  const HASH = "sha256sum | cut -d' ' -f1";

  test("gets the text on stdin, and seals the same for the same text", async () => {
    const key = createCommandKey({ command: [await program(HASH)] });
    const seal = (await key.seal?.("text")) ?? "";
    expect(seal).toMatch(/^[0-9a-f]{64}$/);
    expect(await key.verify("text", seal)).toBe(true);
    expect(await key.verify("other", seal)).toBe(false);
  });

  test("may have another one that verifies, told text and seal", async () => {
    const verifyCommand = [await program(`read -r text; read -r seal; test "$text $seal $1" = "text seal now"`), "now"];
    const key = createCommandKey({ command: [await program("exit 9")], verifyCommand });
    expect(await key.verify("text", "seal")).toBe(true);
    expect(await key.verify("text", "forged")).toBe(false);
  });

  test.each([
    ["that fails", "echo secret >&2; exit 3", "exited with 3"],
    ["that prints nothing", "true", "did not print a seal"],
    ["that prints more than a word", "echo two words", "did not print a seal"],
    ["that prints too long a word", "head -c 4097 /dev/zero | tr '\\0' a", "did not print a seal"],
  ])("%s is named, without what it printed", async (_what, body, text) => {
    const file = await program(body);
    const key = createCommandKey({ command: [file] });
    await expect(key.seal?.("text")).rejects.toMatchObject({
      code: "CC_CONFIG_INVALID",
      message: `audit.seal: ${file} ${text}${text.startsWith("did") ? ", which is one word of at most 4096 characters" : ""}`,
    });
  });

  test("that is not there is named", async () => {
    const key = createCommandKey({ command: ["/nowhere/seal"] });
    await expect(key.seal?.("text")).rejects.toThrow("audit.seal: /nowhere/seal could not be run: ENOENT");
  });

  test("of the longest word seals", async () => {
    const key = createCommandKey({ command: [await program("head -c 4096 /dev/zero | tr '\\0' a")] });
    expect(await key.seal?.("text")).toHaveLength(4_096);
  });
});

describe("settings of the seal", () => {
  test.each([
    ["no key", {}],
    ["two keys", { keyFile: "a", key: "b" }],
    ["a verifyCommand alone", { keyFile: "a", verifyCommand: ["b"] }],
    ["more than twelve hours", { keyFile: "a", intervalMinutes: 720.1 }],
    ["an empty command", { command: [] }],
  ])("with %s are refused", (_what, seal) => {
    expect(SEAL_SCHEMA.safeParse(seal).success).toBe(false);
  });

  test("take twelve hours, and the key from the environment", async () => {
    expect(SEAL_SCHEMA.parse({ keyFile: "a", intervalMinutes: 720 }).formerKeyFiles).toEqual([]);
    const env = {
      CC_PUBLIC_URL: "http://127.0.0.1:8443",
      CC_DATA_DIR: "/data",
      CC_AUTHENTICATION_CONFIG: "auth.yaml",
      CC_AUDIT_SEAL_KEY: "s".repeat(64),
    };
    const { audit } = await loadRelayConfig({ env });
    expect(audit.seal).toMatchObject({ key: env.CC_AUDIT_SEAL_KEY, intervalMinutes: 60 });
    if (audit.seal !== undefined) expect((await openSealKeys(audit.seal)).current.algorithm).toBe("hmac-sha256");
  });

  test("name a key that cannot seal, and one that is the former one as well", async () => {
    const folder = await temporaryFolder();
    const [publicFile, secretFile] = [join(folder, "public.pem"), join(folder, "secret")];
    const { publicKey } = generateKeyPairSync("ed25519");
    await writeFile(publicFile, publicKey.export({ format: "pem", type: "spki" }));
    await writeFile(secretFile, "s".repeat(64));
    const open = (settings: object) => openSealKeys(SEAL_SCHEMA.parse(settings));
    await expect(open({ keyFile: publicFile })).rejects.toThrow("the key is a public one, which cannot seal");
    await expect(open({ keyFile: secretFile, formerKeyFiles: [secretFile] })).rejects.toThrow(
      "names the key that seals now",
    );
    const { former } = await open({ keyFile: secretFile, formerKeyFiles: [publicFile] });
    expect(former).toMatchObject([{ algorithm: "ed25519", seal: undefined }]);
  });

  test("whose key is not there are told by --check-config", async () => {
    const { config } = await startFixture();
    const audit = { ...config.audit, seal: SEAL_SCHEMA.parse({ keyFile: "/nowhere/key" }) };
    const checked = checkFiles({ ...config, audit }, { logs: createMemoryLogSink(), env: {} });
    await expect(checked).rejects.toMatchObject({
      message: expect.stringContaining("audit.seal.keyFile: /nowhere/key"),
    });
  });
});

test("a relay seals at its start and its end, into log and file, and the command verifies by key and noted heads", async () => {
  const folder = await temporaryFolder();
  const [keyFile, otherFile, sink] = [join(folder, "key"), join(folder, "other"), join(folder, "audit.jsonl")];
  await writeFile(keyFile, randomBytes(32).toString("hex"));
  await writeFile(otherFile, randomBytes(32).toString("hex"));
  const seal = SEAL_SCHEMA.parse({ keyFile });
  const fixture = await startFixture({ config: { audit: { whenFull: "block", maxBehind: 100, file: sink, seal } } });
  await ask(fixture, "POST", "/v1/admin/clusters", { body: { id: "prod" } });
  await vi.waitUntil(() => fixture.log.lines.some(({ event }) => event === SEALED_EVENT), { timeout: 30_000 });
  await fixture.relay.close();
  const said: string[] = [];
  const verify = async (...more: readonly string[]): Promise<number> => {
    said.length = 0;
    return await runRelay(["audit", "verify", "--data-dir", fixture.dataDir, ...more], {
      env: {},
      signals: new EventEmitter(),
      logs: createMemoryLogSink(),
      stdout: (line) => void said.push(line),
      stderr: (line) => void said.push(line),
    });
  };
  const logFile = join(folder, "relay.log");
  const sealed = fixture.log.lines.filter(({ event }) => event === SEALED_EVENT);
  await writeFile(logFile, sealed.map((line) => `${JSON.stringify(line)}\n`).join(""));
  expect(await verify("--seal-key", keyFile, "--heads", logFile)).toBe(0);
  expect(said.join()).toMatch(/It is sealed up to number \d+\.$/);
  expect(await verify("--seal-key", keyFile, "--heads", sink)).toBe(0);
  expect(await verify("--seal-key", otherFile)).toBe(79);
  expect(said.join()).toContain("The audit is not whole (foreign-key)");
  expect(await verify("--seal-key", otherFile, "--seal-key", keyFile)).toBe(0);
  expect(await verify("--heads", otherFile)).not.toBe(0);
  expect(said.join()).toContain("holds no sealed head");
  await rewriteAudit(fixture.store, (entries) => entries.slice(0, 1));
  await fixture.store.db.deleteFrom("settings").where("name", "=", "audit_seal").execute();
  expect(await verify("--heads", logFile)).toBe(79);
  expect(said.join()).toContain("The audit is not whole (cut)");
});
