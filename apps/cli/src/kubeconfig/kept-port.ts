import { createHash } from "node:crypto";
import { ConnectError } from "@cluster-connect/protocol";

/** Below the ports that systems hand out by themselves, so that no program has it by chance when it is needed. */
const FIRST_PORT = 21_000;
const PORTS = 4_000;

/**
 * A port for an entry that stays: the same for the same name, unless it is taken.
 *
 * @param taken ports of other entries.
 * @param isFree whether no program listens there now.
 * @throws ConnectError `CC_PORT_IN_USE` when none is left.
 */
export async function chooseKeptPort(
  name: string,
  taken: ReadonlySet<number>,
  isFree: (port: number) => Promise<boolean>,
): Promise<number> {
  const start = createHash("sha256").update(name).digest().readUInt32BE(0);
  for (let step = 0; step < PORTS; step++) {
    const port = FIRST_PORT + ((start + step) % PORTS);
    if (!taken.has(port) && (await isFree(port))) return port;
  }
  throw new ConnectError("CC_PORT_IN_USE", `No port from ${FIRST_PORT} to ${FIRST_PORT + PORTS - 1} is free`);
}
