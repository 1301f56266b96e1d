import { runToEnd } from "../../process/run-to-end.ts";
import type { Outside } from "../cluster.ts";
import type { Namespaces } from "./namespaces.ts";

const CHAIN = "OUTSIDE";
const DIAL_SECONDS = "2";

/** The host as what is outside of a node: it has a route to the pods. */
export function outsideOfNode(namespaces: Namespaces): Outside {
  return {
    refuse: async (reachable) => {
      const iptables = (...args: readonly string[]): Promise<string> => namespaces.run("iptables", args);
      await iptables("-N", CHAIN);
      await iptables("-A", CHAIN, "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT");
      await iptables("-A", CHAIN, "-i", "uplink", "-o", "pods0", "-j", "DROP");
      for (const url of reachable ?? []) {
        const { hostname, port } = new URL(url);
        const there = ["-d", hostname, "-p", "tcp", "--dport", port];
        await iptables("-A", CHAIN, "-i", "pods0", "-o", "uplink", ...there, "-j", "ACCEPT");
      }
      if (reachable !== undefined) await iptables("-A", CHAIN, "-i", "pods0", "-o", "uplink", "-j", "DROP");
      await iptables("-I", "FORWARD", "-j", CHAIN);
    },
    reaches: async (address, port) => {
      const args = [DIAL_SECONDS, "bash", "-c", `exec 3<>/dev/tcp/${address}/${port}`];
      const signal = new AbortController().signal;
      return (await runToEnd("timeout", args, { env: { PATH: "/usr/bin:/bin" }, signal })).code === 0;
    },
  };
}
