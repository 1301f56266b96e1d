import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { darwinPlatform } from "./darwin.ts";
import { linuxPlatform } from "./linux.ts";
import type { Platform, SystemReader } from "./platform.ts";
import { windowsPlatform } from "./windows.ts";

const TIMEOUT_MS = 10_000;

const SYSTEM: SystemReader = {
  readFile: (path) => orUndefined(() => readFileSync(path, "utf8")),
  readLink: (path) => orUndefined(() => readlinkSync(path)),
  readFolder: (path) => orUndefined(() => readdirSync(path)) ?? [],
  output(command, args) {
    const ended = spawnSync(command, args, {
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C", TZ: "UTC" },
      stdio: ["ignore", "pipe", "ignore"],
      timeout: TIMEOUT_MS,
      windowsHide: true,
    });
    return ended.status === 0 ? ended.stdout : undefined;
  },
};

/** The system that this program runs on. */
export function currentPlatform(name: NodeJS.Platform = process.platform, system: SystemReader = SYSTEM): Platform {
  if (name === "darwin") return askedOnce(darwinPlatform(system));
  if (name === "win32") return askedOnce(windowsPlatform(system));
  return askedOnce(linuxPlatform(system));
}

/** Facts that stay the same while this process runs are asked once: on some systems each question starts a program. */
function askedOnce(platform: Platform): Platform {
  const own = once(() => platform.processFacts(process.pid));
  return {
    machineId: once(platform.machineId),
    bootId: once(platform.bootId),
    processNamespace: once(platform.processNamespace),
    processFacts: (pid) => (pid === process.pid ? own() : platform.processFacts(pid)),
    portHolder: platform.portHolder,
  };
}

function once<T>(ask: () => T): () => T {
  let answer: { readonly value: T } | undefined;
  return () => {
    answer ??= { value: ask() };
    return answer.value;
  };
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
