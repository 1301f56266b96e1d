import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { loadConfig } from "../../src/index.ts";

const SCHEMA = z.strictObject({
  listen: z.strictObject({ host: z.string().default("127.0.0.1"), port: z.int().min(0).max(65_535) }),
  publicUrl: z.url(),
  log: z.strictObject({ level: z.enum(["info", "debug"]).default("info") }).prefault({}),
  upstreams: z.record(z.string(), z.string()).default({}),
  source: z
    .union([z.strictObject({ socket: z.string() }), z.strictObject({ url: z.string(), tries: z.int() })])
    .optional(),
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cc-config-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function fileWith(text: string): Promise<string> {
  const file = join(folder, `${crypto.randomUUID()}.yaml`);
  await writeFile(file, text);
  return file;
}

const failure = async (text: string, env: Record<string, string> = {}): Promise<unknown> =>
  loadConfig(SCHEMA, { file: await fileWith(text), env }).catch((error: unknown) => error);

test("a file of a mebibyte is read, and one of a byte more is refused", async () => {
  const text = "listen: { port: 1 }\npublicUrl: https://a.example\n";
  await expect(
    loadConfig(SCHEMA, { file: await fileWith(text.padEnd(1_048_576, "#")), env: {} }),
  ).resolves.toBeDefined();
  expect(await failure(text.padEnd(1_048_577, "#"))).toMatchObject({
    code: "CC_CONFIG_INVALID",
    message: expect.stringContaining("larger than 1048576 bytes"),
  });
});

describe("settings", () => {
  test("come from the file, with the schema's defaults", async () => {
    const file = await fileWith("listen: { port: 8443 }\npublicUrl: https://relay.example.com\n");
    await expect(loadConfig(SCHEMA, { file, env: {} })).resolves.toEqual({
      listen: { host: "127.0.0.1", port: 8443 },
      publicUrl: "https://relay.example.com",
      log: { level: "info" },
      upstreams: {},
    });
  });

  test("of the environment win over the file, at any depth and of any shape", async () => {
    const file = await fileWith("listen: { port: 1, host: a }\npublicUrl: https://a.example.com\n");
    const env = {
      CC_LISTEN_PORT: "2",
      CC_PUBLIC_URL: "https://b.example.com",
      CC_LOG_LEVEL: "debug",
      CC_UPSTREAMS: "{ echo: /run/echo.sock }",
      CC_SOURCE_URL: "12345",
      CC_SOURCE_TRIES: "3",
    };
    await expect(loadConfig(SCHEMA, { file, env })).resolves.toEqual({
      listen: { host: "a", port: 2 },
      publicUrl: "https://b.example.com",
      log: { level: "debug" },
      upstreams: { echo: "/run/echo.sock" },
      source: { url: "12345", tries: 3 },
    });
  });

  test("may come from the environment alone, which may also name the file", async () => {
    const file = await fileWith("listen: { port: 7 }\npublicUrl: https://a.example.com\n");
    await expect(loadConfig(SCHEMA, { env: { CC_CONFIG: file } })).resolves.toMatchObject({ listen: { port: 7 } });
    const env = { CC_LISTEN_PORT: "9", CC_PUBLIC_URL: "https://b.example.com" };
    await expect(loadConfig(SCHEMA, { env })).resolves.toMatchObject({ listen: { port: 9 } });
  });

  test("of the environment that are wrong are named with their variable", async () => {
    const error = await failure("listen: { port: 1, host: 5 }\npublicUrl: https://a.example.com\n", {
      CC_LISTEN_PORT: "hunter2",
      CC_LOG: "{ levle: debug }",
    });
    const { message } = error as Error;
    expect(message).toContain("listen.port: expected number, received string (from CC_LISTEN_PORT)");
    expect(message).toContain("log.levle: no such setting (from CC_LOG)");
    expect(message).toMatch(/listen\.host: expected string, received number(;|$)/);
    expect(message).not.toContain("hunter2");
  });

  test("that are wrong are all named at once, with what was expected and without their values", async () => {
    const error = await failure("listen: { port: hunter2 }\npublicUrl: 5\nlog: { levle: debug, level: loud }\nx: 1\n");
    expect(error).toMatchObject({ code: "CC_CONFIG_INVALID" });
    const { message } = error as Error;
    expect(message).toContain("listen.port: expected number, received string");
    expect(message).toContain("publicUrl: expected string");
    expect(message).toContain('log.level: expected one of "info"|"debug"');
    expect(message).toContain("log.levle: no such setting");
    expect(message).toContain("x: no such setting");
    expect(message).not.toContain("hunter2");
    expect(message).not.toContain("\n");
  });

  test("that fit no member of a union are described by the nearest one", async () => {
    const error = await failure("listen: { port: 1 }\npublicUrl: https://a.example.com\nsource: { url: x }\n");
    expect((error as Error).message).toContain("source.tries: expected number");
  });
});

describe("a file", () => {
  test("that is missing or a folder is named", async () => {
    const missing = join(folder, "none.yaml");
    await expect(loadConfig(SCHEMA, { file: missing, env: {} })).rejects.toMatchObject({
      code: "CC_FILE_MISSING",
      message: `${missing} does not exist`,
    });
    await expect(loadConfig(SCHEMA, { file: folder, env: {} })).rejects.toMatchObject({ code: "CC_FILE_UNREADABLE" });
  });

  test("that is not YAML is refused with the line and without its text", async () => {
    const error = await failure("listen:\n  port: 1\n secret: [hunter2\n");
    expect(error).toMatchObject({ code: "CC_CONFIG_INVALID" });
    expect((error as Error).message).toMatch(/line \d+/);
    expect((error as Error).message).not.toContain("hunter2");
  });

  test("with a key given twice is refused", async () => {
    const error = await failure("publicUrl: https://a.example.com\npublicUrl: https://b.example.com\n");
    expect((error as Error).message).toContain("line 2: duplicate key");
  });

  test("of any text gives settings or a ConnectError", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary" }), async (text) => {
        await expect(failure(text)).resolves.toHaveProperty("code");
      }),
      { numRuns: 200 },
    );
  });
});
