import type { CertificateFiles } from "../certificate.ts";
import type { Processes } from "../process/processes.ts";
import { startProgram } from "../programs/settings.ts";
import type { Ends } from "./chain.ts";

/** Where chains are started. */
export interface Site {
  readonly processes: Processes;
  readonly certificate: CertificateFiles;
  /** Ports of the far ends. */
  readonly ends: Ends;
  /** Folder for CPU profiles of relay and agent. */
  readonly profileFolder: string | undefined;
  /** Flags for Node in our own hops. */
  readonly nodeFlags: readonly string[];
}

/** How a chain is started. */
export interface ChainOptions {
  /** Round trip of the path between its first and its second hop; 0 for loopback as it is. */
  readonly rttMs: number;
}

/** The port of a hop's path to the next one: that port itself, or one that leads there with a delay. */
export async function path(port: number, { rttMs }: ChainOptions, site: Site): Promise<number> {
  if (rttMs === 0) return port;
  const { answer } = await startProgram<number>("delay", { port, rttMs }, site.processes);
  return answer;
}
