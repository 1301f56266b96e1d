import type { Platform, SystemReader } from "./platform.ts";

const MEMORY = String.raw`HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters`;
const CRYPTOGRAPHY = String.raw`HKLM\SOFTWARE\Microsoft\Cryptography`;

/** Windows: by its registry, PowerShell, netstat and tasklist, which every Windows has. */
export function windowsPlatform(system: SystemReader): Platform {
  const machineId = (): string | undefined => {
    const answer = system.output("reg.exe", ["query", CRYPTOGRAPHY, "/v", "MachineGuid", "/reg:64"]) ?? "";
    return /MachineGuid\s+REG_SZ\s+([0-9a-fA-F-]{36})/.exec(answer)?.[1];
  };
  return {
    machineId,
    bootId() {
      // Windows counts its starts; the same count on another machine means nothing.
      const machine = machineId();
      const answer = system.output("reg.exe", ["query", MEMORY, "/v", "BootId"]) ?? "";
      const count = /BootId\s+REG_DWORD\s+0x([0-9a-f]{1,8})/.exec(answer)?.[1];
      return machine === undefined || count === undefined ? undefined : `${machine}-${count}`;
    },
    // There is one for the whole machine.
    processNamespace: () => "windows",
    processFacts(pid) {
      const script = `(Get-Process -Id ${pid} -ErrorAction Stop).StartTime.ToFileTimeUtc()`;
      const answer = system.output("powershell.exe", ["-NoProfile", "-NonInteractive", "-Command", script])?.trim();
      return answer !== undefined && /^\d{1,20}$/.test(answer) ? { startedAt: answer, isOver: false } : undefined;
    },
    portHolder(port) {
      const sockets = system.output("netstat.exe", ["-ano", "-p", "TCP"]) ?? "";
      // The state's word is translated; a listener's far end is 0.0.0.0:0 in each language.
      const row = new RegExp(
        String.raw`^\s*TCP\s+(?:127\.0\.0\.1|0\.0\.0\.0):${port}\s+0\.0\.0\.0:0\s+\S+\s+(\d+)\s*$`,
        "m",
      );
      const pid = row.exec(sockets)?.[1];
      if (pid === undefined) return undefined;
      const tasks = system.output("tasklist.exe", ["/FI", `PID eq ${pid}`, "/FO", "CSV", "/NH"]) ?? "";
      return { pid: Number(pid), command: /^"([^"]{1,200})"/m.exec(tasks)?.[1] ?? "unknown" };
    },
  };
}
