import { basename } from "node:path";
import type { Platform, SystemReader } from "./platform.ts";

/** macOS, which has no /proc: by sysctl, ioreg, ps and lsof, which every macOS has. */
export function darwinPlatform(system: SystemReader): Platform {
  return {
    machineId() {
      const properties = system.output("/usr/sbin/ioreg", ["-rd1", "-c", "IOPlatformExpertDevice"]) ?? "";
      return /"IOPlatformUUID" = "([0-9A-F-]{36})"/.exec(properties)?.[1];
    },
    bootId() {
      const id = system.output("/usr/sbin/sysctl", ["-n", "kern.bootsessionuuid"])?.trim() ?? "";
      return /^[0-9A-F-]{36}$/.test(id) ? id : undefined;
    },
    // There is one for the whole machine.
    processNamespace: () => "darwin",
    processFacts(pid) {
      const answer = system.output("/bin/ps", ["-o", "state=,lstart=", "-p", String(pid)])?.trim();
      if (answer === undefined || answer === "") return undefined;
      const [state = "", ...started] = answer.split(/\s+/);
      // In the C locale, as `output` runs it: "Mon Nov 30 06:50:25 2026".
      const at = /^\w{3} \w{3} \d{1,2} \d\d:\d\d:\d\d \d{4}$/.test(started.join(" ")) ? started.join("-") : undefined;
      return { startedAt: at, isOver: state.startsWith("Z") };
    },
    portHolder(port) {
      const answer = system.output("/usr/sbin/lsof", ["-nP", `-iTCP@127.0.0.1:${port}`, "-sTCP:LISTEN", "-Fpc"]) ?? "";
      const pid = /^p(\d{1,10})$/m.exec(answer)?.[1];
      const command = /^c(.{1,200})$/m.exec(answer)?.[1];
      return pid === undefined ? undefined : { pid: Number(pid), command: basename(command ?? "unknown") };
    },
  };
}
