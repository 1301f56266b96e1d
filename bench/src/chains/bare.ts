import type { Running } from "../process/processes.ts";
import type { HopSettings } from "../programs/hop/settings.ts";
import type { OpenerPorts, OpenerSettings } from "../programs/opener/settings.ts";
import { startProgram } from "../programs/settings.ts";
import type { Chain, HopName } from "./chain.ts";
import type { Site } from "./site.ts";

/** Opener, relay and agent of framing alone, with the hop window or without. */
export async function startBare(options: { readonly hopWindow: boolean }, site: Site): Promise<Chain> {
  const { processes, ends } = site;
  const { hopWindow } = options;
  const { certFile, keyFile } = site.certificate;
  const relaySettings: HopSettings = { role: "relay", certFile, keyFile, hopWindow };
  const relay = await startProgram<number>("hop", relaySettings, processes, {
    name: "bare-relay",
    execArgv: site.nodeFlags,
  });
  const url = `https://127.0.0.1:${relay.answer}`;
  const agentSettings: HopSettings = {
    role: "agent",
    url: `${url}/v1/agent`,
    caFile: certFile,
    upstreams: { quiet: ends.quiet, bulk: ends.bulk },
    hopWindow,
  };
  const agent = await startProgram("hop", agentSettings, processes, {
    name: "bare-agent",
    execArgv: site.nodeFlags,
  });
  const openerSettings: OpenerSettings = {
    url: `${url}/v1/connect`,
    caFile: certFile,
    cluster: "bench",
    upstreams: ["quiet", "bulk"],
    hopWindow,
  };
  const near = await startProgram<OpenerPorts>("opener", openerSettings, processes, { execArgv: site.nodeFlags });
  const hops: Readonly<Record<HopName, Running>> = { near: near.running, middle: relay.running, far: agent.running };
  return {
    name: hopWindow ? "hop window" : "no hop window",
    ports: { quiet: near.answer["quiet"] ?? 0, bulk: near.answer["bulk"] ?? 0 },
    hops,
    pids: async (hop) => [hops[hop].pid],
    async stop() {
      await Promise.all(Object.values(hops).map((hop) => hop.stop()));
    },
  };
}
