import { ConnectError } from "@cluster-connect/protocol";
import { currentPlatform } from "../platform/current.ts";

/** `CC_PORT_IN_USE`, with the process that has the port where the system tells. */
export function describePortHolder(port: number, cause: unknown): ConnectError {
  const holder = currentPlatform().portHolder(port);
  const by = holder === undefined ? "another process" : `process ${holder.pid} (${holder.command})`;
  return new ConnectError("CC_PORT_IN_USE", `Port ${port} is in use by ${by}`, { cause });
}
