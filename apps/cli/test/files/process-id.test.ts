import { spawn } from "node:child_process";
import { once } from "node:events";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import {
  formatProcessId,
  identifyProcess,
  livenessOf,
  type ProcessDeps,
  type ProcessId,
  parseProcessId,
  processScope,
} from "../../src/files/process-id.ts";

const noProcess = (): never => {
  throw Object.assign(new Error("kill ESRCH"), { code: "ESRCH" });
};

interface Machine {
  readonly host?: string;
  readonly machine?: string | undefined;
  readonly boot?: string | undefined;
  readonly namespace?: string | undefined;
  readonly startedAt?: string | undefined;
  readonly isOver?: boolean;
  readonly probe?: (pid: number) => void;
}

/** A machine as its platform tells of it. */
function machine(facts: Machine = {}): ProcessDeps {
  const all = { host: "host", machine: "m", boot: "b1", namespace: "pid:[1]", startedAt: "100", ...facts };
  return {
    hostName: all.host,
    probe: facts.probe ?? (() => {}),
    platform: {
      machineId: () => all.machine,
      bootId: () => all.boot,
      processNamespace: () => all.namespace,
      processFacts: () => ({ startedAt: all.startedAt, isOver: facts.isOver === true }),
      portHolder: () => undefined,
    },
  };
}

const id = identifyProcess(4711, machine());

test("this process is alive", () => {
  const own = identifyProcess(process.pid);
  expect(livenessOf(own)).toBe("alive");
  expect(parseProcessId(formatProcessId(own))).toEqual(own);
});

test.each<readonly [string, Machine]>([
  ["its number is free", { probe: noProcess }],
  ["its number belongs to a later process", { startedAt: "101" }],
  ["it only waits for its parent to notice", { isOver: true }],
  ["the machine was started again, and its number is taken", { boot: "b2" }],
])("a process is gone when %s", (_, facts) => {
  expect(livenessOf(id, machine(facts))).toBe("gone");
});

test.each<readonly [string, Machine]>([
  ["it is of another container of this machine", { namespace: "pid:[2]" }],
  ["it is of a container of the same host name on another machine", { boot: "b2", machine: "other" }],
  ["it is of a clone of this machine with another host name", { boot: "b2", host: "clone" }],
  ["it is of another container, and the number is free here", { namespace: "pid:[2]", probe: noProcess }],
  ["the system does not tell which start of the machine this is", { boot: undefined }],
  ["the system does not tell the namespace", { namespace: undefined }],
  ["the system does not tell when a process began", { startedAt: undefined }],
])("whether a process runs cannot be told when %s", (_, facts) => {
  expect(livenessOf(id, machine(facts))).toBe("unknown");
});

test("a machine that got another name keeps its processes", () => {
  expect(livenessOf(id, machine({ host: "laptop.cafe.example" }))).toBe("alive");
});

test("a process that was written down without its start cannot be told, however alive its number is", () => {
  expect(livenessOf({ ...id, startedAt: "" }, machine())).toBe("unknown");
});

test("another user's process that may not be asked is told by its start", () => {
  const probe = (): never => {
    throw Object.assign(new Error("kill EPERM"), { code: "EPERM" });
  };
  expect(livenessOf(id, machine({ probe }))).toBe("alive");
  expect(livenessOf(id, machine({ probe, startedAt: "101" }))).toBe("gone");
});

test("numbers of another container or start are written with another scope", () => {
  const here = processScope(machine());
  expect(processScope(machine({ namespace: "pid:[2]" }))).not.toBe(here);
  expect(processScope(machine({ boot: "b2" }))).not.toBe(here);
  expect(here).toMatch(/^[0-9a-f]{8}$/);
});

test("what is written is read back, and nothing else is a process", () => {
  const word = fc.stringMatching(/^[\w.:[\]-]{1,40}$/).filter((text) => text !== "-");
  const ids: fc.Arbitrary<ProcessId> = fc.record({
    pid: fc.integer({ min: 1, max: 0x7f_ff_ff_ff }),
    machine: fc.stringMatching(/^[0-9a-f]{16}$/),
    boot: fc.oneof(word, fc.constant("")),
    namespace: fc.oneof(word, fc.constant("")),
    startedAt: fc.oneof(fc.stringMatching(/^[\w:]{1,40}$/), fc.constant("")),
  });
  fc.assert(fc.property(ids, (one) => void expect(parseProcessId(formatProcessId(one))).toEqual(one)));
  fc.assert(fc.property(fc.string(), (text) => void expect(parseProcessId(text)).toBeUndefined()));
  const line = formatProcessId(id);
  for (const pid of ["0", "-1", "2147483648", "1e3", ""]) {
    expect(parseProcessId(line.replace("4711", pid))).toBeUndefined();
  }
});

test.runIf(process.platform === "linux")("a process that ended is over, though its parent never notices", async () => {
  // The shell becomes a program that knows of no children.
  const parent = spawn("sh", ["-c", "sleep 600 & echo $!; exec sleep 600"], { stdio: ["ignore", "pipe", "ignore"] });
  onTestFinished(() => void parent.kill("SIGKILL"));
  const [chunk] = await once(parent.stdout, "data");
  const child = identifyProcess(Number(String(chunk).trim()));
  expect(livenessOf(child)).toBe("alive");
  process.kill(child.pid, "SIGKILL");
  await expect.poll(() => livenessOf(child)).toBe("gone");
  expect(() => process.kill(child.pid, 0)).not.toThrow();
});
