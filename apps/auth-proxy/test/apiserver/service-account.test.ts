import { type Clock, SYSTEM_CLOCK } from "@cluster-connect/base";
import { createMemoryLogger } from "@cluster-connect/service/testing";
import { expect, test } from "vitest";
import { createServiceAccount, type ServiceAccount } from "../../src/apiserver/service-account.ts";
import { CREDENTIAL_RELOAD_MS, CREDENTIAL_RETRY_MS } from "../../src/limits/limits.ts";

const PEM = (name: string): string => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`;

interface Setup {
  readonly files: Map<string, string>;
  readonly account: ServiceAccount;
  readonly log: ReturnType<typeof createMemoryLogger>;
  /** Lets a wait of the reload loop end; resolves when it waits again. */
  minute(): Promise<void>;
  advance(ms: number): void;
}

async function setup(): Promise<Setup & Disposable> {
  const files = new Map([
    ["token", "one\n"],
    ["ca", PEM("one")],
  ]);
  let now = 1_000_000;
  let waiting = Promise.withResolvers<void>();
  let release = (): void => {};
  const clock: Clock = {
    now: () => now,
    monotonicNow: () => now,
    setTimer: (delayMs, fire) => {
      expect(delayMs).toBe(CREDENTIAL_RELOAD_MS);
      release = fire;
      waiting.resolve();
      return { cancel: () => {} };
    },
  };
  const log = createMemoryLogger();
  const readText = async (path: string): Promise<string> => {
    const text = files.get(path);
    if (text === undefined) throw new Error("gone");
    return text;
  };
  const account = await createServiceAccount({ tokenFile: "token", caFile: "ca" }, { clock, log, readText });
  const stop = new AbortController();
  void account.keep({ signal: stop.signal });
  await waiting.promise;
  return {
    files,
    account,
    log,
    async minute() {
      waiting = Promise.withResolvers();
      release();
      await waiting.promise;
    },
    advance(ms) {
      now += ms;
    },
    [Symbol.dispose]: () => stop.abort(),
  };
}

test("token and CA follow their files each minute", async () => {
  using it = await setup();
  expect(it.account.token()).toBe("one");
  it.files.set("token", "two");
  it.files.set("ca", PEM("two"));
  expect(it.account.token()).toBe("one");
  await it.minute();
  expect(it.account.token()).toBe("two");
  expect(it.account.ca()).toBe(PEM("two"));
});

test.each([
  ["gone", undefined],
  ["empty", ""],
  ["not a token", "a b\nc"],
])("a token file that is %s leaves the old token", async (_what, text) => {
  using it = await setup();
  if (text === undefined) it.files.delete("token");
  else it.files.set("token", text);
  await it.minute();
  expect(it.account.token()).toBe("one");
  expect(it.log.lines).toContainEqual(expect.objectContaining({ event: "credential.kept" }));
});

test("a CA file without a certificate leaves the old CA", async () => {
  using it = await setup();
  it.files.set("ca", "nothing");
  await it.minute();
  expect(it.account.ca()).toBe(PEM("one"));
});

test("a refused token is read anew at once, and dropped when it cannot be", async () => {
  using it = await setup();
  it.files.set("token", "two");
  expect(await it.account.refused("one")).toBe(true);
  expect(it.account.token()).toBe("two");
  it.advance(CREDENTIAL_RETRY_MS);
  it.files.delete("token");
  expect(await it.account.refused("two")).toBe(false);
  expect(() => it.account.token()).toThrow(expect.objectContaining({ code: "CC_APISERVER_UNREACHABLE" }));
  it.files.set("token", "three");
  await it.minute();
  expect(it.account.token()).toBe("three");
});

test("many refusals at once read the file once", async () => {
  using it = await setup();
  const answers = await Promise.all([1, 2, 3].map(() => it.account.refused("one")));
  expect(answers).toEqual([false, false, false]);
  it.files.set("token", "two");
  expect(await it.account.refused("one")).toBe(false);
  it.advance(CREDENTIAL_RETRY_MS);
  expect(await it.account.refused("one")).toBe(true);
  expect(await it.account.refused("one")).toBe(true);
});

test.each(["token", "ca"])("without a %s at start there is no auth proxy", async (missing) => {
  const readText = async (path: string): Promise<string> => (path === missing ? "" : path === "ca" ? PEM("x") : "t");
  const log = createMemoryLogger();
  const made = createServiceAccount({ tokenFile: "token", caFile: "ca" }, { clock: SYSTEM_CLOCK, log, readText });
  await expect(made).rejects.toMatchObject({ code: "CC_FILE_UNREADABLE" });
});
