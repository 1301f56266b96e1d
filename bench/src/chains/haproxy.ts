import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../process/free-port.ts";
import type { Running } from "../process/processes.ts";
import { type Chain, type Ends, listening } from "./chain.ts";
import { type ChainOptions, path, type Site } from "./site.ts";

/** Three haproxy processes that pass TCP on; the paths between them have TLS. */
export async function startHaproxy(options: ChainOptions, site: Site): Promise<Chain> {
  const { certFile, pairFile } = site.certificate;
  const accept = `ssl crt ${pairFile}`;
  const dial = `ssl verify required ca-file ${certFile} verifyhost localhost`;
  const far = await startHop({ to: site.ends, accept, dial: "" }, site);
  const middle = await startHop({ to: far.ports, accept, dial }, site);
  const next = {
    quiet: await path(middle.ports.quiet, options, site),
    bulk: await path(middle.ports.bulk, options, site),
  };
  const near = await startHop({ to: next, accept: "", dial }, site);
  const hops = { near: near.running, middle: middle.running, far: far.running };
  return {
    name: "haproxy TLS",
    ports: near.ports,
    hops,
    pids: async (hop) => [hops[hop].pid],
    async stop() {
      await Promise.all(Object.values(hops).map((hop) => hop.stop()));
    },
  };
}

interface HopSpec {
  readonly to: Ends;
  /** Words after `bind` and after `server`. */
  readonly accept: string;
  readonly dial: string;
}

async function startHop(spec: HopSpec, site: Site): Promise<{ readonly ports: Ends; readonly running: Running }> {
  const { processes } = site;
  const ports = { quiet: await freePort(), bulk: await freePort() };
  const configPath = join(processes.folder, `haproxy-${ports.quiet}.cfg`);
  await writeFile(configPath, configuration(spec, ports));
  const running = await processes.program("haproxy", "haproxy", ["-db", "-f", configPath]);
  await Promise.all([listening(ports.quiet), listening(ports.bulk)]);
  return { ports, running };
}

function configuration({ to, accept, dial }: HopSpec, ports: Ends): string {
  const listen = (name: keyof Ends): readonly string[] => [
    `listen ${name}`,
    `  bind 127.0.0.1:${ports[name]} ${accept}`,
    `  server next 127.0.0.1:${to[name]} ${dial}`,
  ];
  return [
    "defaults",
    "  mode tcp",
    "  timeout connect 5s",
    "  timeout client 1h",
    "  timeout server 1h",
    ...listen("quiet"),
    ...listen("bulk"),
    "",
  ].join("\n");
}
