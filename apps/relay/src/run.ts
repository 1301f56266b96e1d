import { existsSync } from "node:fs";
import { ConnectError } from "@cluster-connect/protocol";
import { createLogger, type DaemonProcess, exitCodeOf } from "@cluster-connect/service";
import { addCluster } from "./commands/add-cluster.ts";
import { beginAuditCommand } from "./commands/audit-begin.ts";
import { verifyAuditCommand } from "./commands/audit-verify.ts";
import { checkFiles } from "./commands/check-config.ts";
import { describeClusters } from "./commands/clusters.ts";
import { type Command, parseCommandLine, USAGE, type Where } from "./commands/command-line.ts";
import { makeEnrollmentCode } from "./commands/enroll.ts";
import { forgetCluster } from "./commands/remove-cluster.ts";
import { describeRevocation } from "./commands/revoke.ts";
import { loadRelayConfig } from "./config.ts";
import { serveRelay } from "./serve.ts";
import { placeInFolder, readStorePlace } from "./store/open/place.ts";
import { revokeAgentKey } from "./store/queries/agent-keys.ts";
import { openStore, type Store, type StorePlace } from "./store/store.ts";
import { SOFTWARE } from "./version.ts";

/** Runs the command that the arguments name. @returns the exit code. */
export function runRelay(argv: readonly string[], deps: DaemonProcess): Promise<number> {
  return exitCodeOf(async () => {
    await runCommand(parseCommandLine(argv), deps);
    return 0;
  }, deps);
}

async function runCommand(command: Command, deps: DaemonProcess): Promise<void> {
  switch (command.kind) {
    case "help":
      deps.stdout(USAGE);
      return;
    case "version":
      deps.stdout(SOFTWARE);
      return;
    case "serve":
      return await runServe(command, deps);
    case "enroll":
      return await withStore(command.where, deps, async (store) => {
        const result = await makeEnrollmentCode(store, command, new Date());
        deps.stdout(result.stdout);
        if (result.stderr !== "") deps.stderr(result.stderr);
      });
    case "add-cluster":
      return await withStore(command.where, deps, async (store) => {
        deps.stdout(await addCluster(store, command, new Date()));
      });
    case "clusters":
      return await withFormerStore(command.where, deps, async (store) => {
        deps.stdout(await describeClusters(store, command.output));
      });
    case "auditVerify":
      return await withFormerStore(command.where, deps, async (store) => {
        deps.stdout(await verifyAuditCommand(store, command, deps));
      });
    case "auditBegin":
      return await withFormerStore(command.where, deps, async (store) => {
        deps.stdout(await beginAuditCommand(store, command, deps));
      });
    case "remove-cluster":
      return await withFormerStore(command.where, deps, async (store) => {
        deps.stdout(await forgetCluster(store, command, new Date()));
      });
    case "revoke":
      return await withFormerStore(command.where, deps, async (store) => {
        const revoked = await revokeAgentKey(store.db, command.keyId, new Date());
        if (revoked === undefined) throw new ConnectError("CC_ID_INVALID", `No valid key has the id ${command.keyId}`);
        deps.stdout(describeRevocation(revoked, command));
      });
  }
}

async function runServe(command: Extract<Command, { kind: "serve" }>, deps: DaemonProcess): Promise<void> {
  const config = await loadRelayConfig({ file: command.where.configFile, env: deps.env });
  if (command.checkConfig) {
    await checkFiles(config, deps);
    deps.stderr("The settings are valid.");
    return;
  }
  const { level } = config.log;
  await serveRelay(config, {
    signals: deps.signals,
    env: deps.env,
    software: SOFTWARE,
    createLog: (ids) => createLogger({ service: "relay", level, ids }, deps.logs),
    droppedLines: () => deps.logs.dropped,
  });
}

async function placeOf(where: Where, deps: DaemonProcess): Promise<StorePlace> {
  if (where.dataDir !== undefined) return placeInFolder(where.dataDir);
  return await readStorePlace(await loadRelayConfig({ file: where.configFile, env: deps.env }));
}

async function withStore(where: Where, deps: DaemonProcess, use: (store: Store) => Promise<void>): Promise<void> {
  await withStoreAt(await placeOf(where, deps), use);
}

/** A new store in a misspelt folder would have nothing to show, and its audit would be whole. */
async function withFormerStore(where: Where, deps: DaemonProcess, use: (store: Store) => Promise<void>): Promise<void> {
  const place = await placeOf(where, deps);
  if (place.kind === "sqlite" && !existsSync(place.file)) {
    const hint = "Check --data-dir, or the store of the settings; a relay makes it when it first starts.";
    throw new ConnectError("CC_FILE_MISSING", `There is no store ${place.file}`, { hint });
  }
  await withStoreAt(place, use);
}

async function withStoreAt(place: StorePlace, use: (store: Store) => Promise<void>): Promise<void> {
  const store = await openStore(place, new Date());
  try {
    await use(store);
  } finally {
    await store.close();
  }
}
