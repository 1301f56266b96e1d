import { runToEnd } from "../../process/run-to-end.ts";
import type { Outside } from "../cluster.ts";
import type { Namespaces } from "./namespaces.ts";

const DIAL_SECONDS = "2";

/** The host as what is outside of a node: it has a route to the pods. */
export function outsideOfNode(namespaces: Namespaces): Outside {
  return {
    refuse: async () => {
      const fromHost = ["-i", "uplink", "-o", "pods0", "-m", "conntrack", "--ctstate", "NEW", "-j", "DROP"];
      await namespaces.run("iptables", ["-I", "FORWARD", ...fromHost]);
    },
    reaches: async (address, port) => {
      const args = [DIAL_SECONDS, "bash", "-c", `exec 3<>/dev/tcp/${address}/${port}`];
      const signal = new AbortController().signal;
      return (await runToEnd("timeout", args, { env: { PATH: "/usr/bin:/bin" }, signal })).code === 0;
    },
  };
}
