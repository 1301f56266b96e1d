import type { Running } from "../process/processes.ts";
import { startProgram } from "../programs/settings.ts";
import type { Chain, HopName } from "./chain.ts";
import { type ChainOptions, path, type Site } from "./site.ts";

/** Three proxies of Node's `net`, each way on its own, without TLS. */
export async function startNet(options: ChainOptions, site: Site): Promise<Chain> {
  const quiet = await startWay(site.ends.quiet, options, site);
  const bulk = await startWay(site.ends.bulk, options, site);
  const ways = [quiet, bulk];
  return {
    name: "node net",
    ports: { quiet: quiet.port, bulk: bulk.port },
    hops: {},
    pids: async (hop) => ways.map((way) => way.hops[hop].pid),
    async stop() {
      await Promise.all(ways.flatMap(({ hops }) => Object.values(hops).map((hop) => hop.stop())));
    },
  };
}

interface Way {
  readonly port: number;
  readonly hops: Readonly<Record<HopName, Running>>;
}

async function startWay(port: number, options: ChainOptions, site: Site): Promise<Way> {
  const hop = (to: number): ReturnType<typeof startProgram<number>> =>
    startProgram<number>("net-proxy", { port: to }, site.processes);
  const far = await hop(port);
  const middle = await hop(far.answer);
  const near = await hop(await path(middle.answer, options, site));
  return { port: near.answer, hops: { near: near.running, middle: middle.running, far: far.running } };
}
