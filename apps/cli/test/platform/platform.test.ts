import { once } from "node:events";
import { createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { currentPlatform } from "../../src/platform/current.ts";
import { darwinPlatform } from "../../src/platform/darwin.ts";
import { linuxPlatform } from "../../src/platform/linux.ts";
import type { SystemReader } from "../../src/platform/platform.ts";
import { windowsPlatform } from "../../src/platform/windows.ts";

/** A system that answers as it was recorded, and knows nothing else. */
function recorded(facts: {
  readonly files?: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
  readonly folders?: Readonly<Record<string, readonly string[]>>;
  readonly outputs?: Readonly<Record<string, string>>;
}): SystemReader {
  return {
    readFile: (path) => facts.files?.[path],
    readLink: (path) => facts.links?.[path],
    readFolder: (path) => facts.folders?.[path] ?? [],
    output: (command, args) => facts.outputs?.[[command, ...args].join(" ")],
  };
}

const NOTHING = recorded({});

test("Linux tells processes apart by /proc", () => {
  const stat = "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8123456 5 1 1";
  const linux = linuxPlatform(
    recorded({
      files: {
        "/etc/machine-id": "8f1d2f7f0c3a4a55b3a54e5a0a8a0b11\n",
        "/proc/sys/kernel/random/boot_id": "0b1e3b1e-5a8f-4c63-9f0c-6a0c1c5b1c9f\n",
        "/proc/4711/stat": stat,
        "/proc/4712/stat": stat.replace(") S", ") Z"),
      },
      links: { "/proc/self/ns/pid": "pid:[4026531836]" },
    }),
  );
  expect(linux.machineId()).toBe("8f1d2f7f0c3a4a55b3a54e5a0a8a0b11");
  expect(linux.bootId()).toBe("0b1e3b1e-5a8f-4c63-9f0c-6a0c1c5b1c9f");
  expect(linux.processNamespace()).toBe("pid:[4026531836]");
  expect(linux.processFacts(4711)).toEqual({ startedAt: "8123456", isOver: false });
  expect(linux.processFacts(4712)).toEqual({ startedAt: "8123456", isOver: true });
  expect(linux.processFacts(4713)).toBeUndefined();
});

test("macOS tells processes apart by sysctl and ps", () => {
  const darwin = darwinPlatform(
    recorded({
      outputs: {
        "/usr/sbin/ioreg -rd1 -c IOPlatformExpertDevice":
          '+-o J314sAP  <class IOPlatformExpertDevice>\n    {\n      "IOPlatformUUID" = "6C0A27A1-3F0E-5B6D-9C47-0D2B2E6F1A55"\n',
        "/usr/sbin/sysctl -n kern.bootsessionuuid": "E2B1C2D8-6C1F-4E0B-8B0A-6D3E7C1A9F10\n",
        "/bin/ps -o state=,lstart= -p 4711": "S    Mon Nov 30 06:50:25 2026    \n",
        "/bin/ps -o state=,lstart= -p 4712": "Z    Sun Nov  1 06:50:25 2026    \n",
        "/usr/sbin/lsof -nP -iTCP@127.0.0.1:47011 -sTCP:LISTEN -Fpc": "p812\ncnode\nf21\n",
      },
    }),
  );
  expect(darwin.machineId()).toBe("6C0A27A1-3F0E-5B6D-9C47-0D2B2E6F1A55");
  expect(darwin.bootId()).toBe("E2B1C2D8-6C1F-4E0B-8B0A-6D3E7C1A9F10");
  expect(darwin.processFacts(4711)).toEqual({ startedAt: "Mon-Nov-30-06:50:25-2026", isOver: false });
  expect(darwin.processFacts(4712)).toEqual({ startedAt: "Sun-Nov-1-06:50:25-2026", isOver: true });
  expect(darwin.processFacts(4713)).toBeUndefined();
  expect(darwin.portHolder(47_011)).toEqual({ pid: 812, command: "node" });
});

test("Windows tells processes apart by its registry and PowerShell", () => {
  const cryptography = String.raw`HKLM\SOFTWARE\Microsoft\Cryptography`;
  const memory = String.raw`HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters`;
  const windows = windowsPlatform(
    recorded({
      outputs: {
        [`reg.exe query ${cryptography} /v MachineGuid /reg:64`]:
          "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Cryptography\r\n    MachineGuid    REG_SZ    4c1f0a52-8d3a-4f0e-9b0e-1f2a3b4c5d6e\r\n\r\n",
        [`reg.exe query ${memory} /v BootId`]: "\r\n    BootId    REG_DWORD    0x1a7\r\n\r\n",
        "powershell.exe -NoProfile -NonInteractive -Command (Get-Process -Id 4711 -ErrorAction Stop).StartTime.ToFileTimeUtc()":
          "134089734251234567\r\n",
        "netstat.exe -ano -p TCP":
          "\r\nAktive Verbindungen\r\n\r\n  TCP    127.0.0.1:47011        0.0.0.0:0              ABHÖREN         812\r\n  TCP    127.0.0.1:470          0.0.0.0:0              ABHÖREN         9\r\n",
        "tasklist.exe /FI PID eq 812 /FO CSV /NH": '"node.exe","812","Console","1","52.116 K"\r\n',
      },
    }),
  );
  expect(windows.bootId()).toBe("4c1f0a52-8d3a-4f0e-9b0e-1f2a3b4c5d6e-1a7");
  expect(windows.processFacts(4711)).toEqual({ startedAt: "134089734251234567", isOver: false });
  expect(windows.processFacts(4712)).toBeUndefined();
  expect(windows.portHolder(47_011)).toEqual({ pid: 812, command: "node.exe" });
  expect(windows.portHolder(47_012)).toBeUndefined();
});

test.each([
  ["Linux", linuxPlatform(NOTHING)],
  ["macOS", darwinPlatform(NOTHING)],
  ["Windows", windowsPlatform(NOTHING)],
])("a %s that tells nothing is no failure", (_, platform) => {
  expect(platform.machineId()).toBeUndefined();
  expect(platform.bootId()).toBeUndefined();
  expect(platform.processFacts(4711)).toBeUndefined();
  expect(platform.portHolder(47_011)).toBeUndefined();
});

test.runIf(process.platform === "linux")("this machine says who listens on a port", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  expect(currentPlatform().portHolder(port)?.pid).toBe(process.pid);
});
