/** A process that adds one entry to a kubeconfig. */
import { parseClusterId } from "@cluster-connect/protocol";
import { entryName } from "../../src/kubeconfig/entry.ts";
import { changeKubeconfig } from "../../src/kubeconfig/file.ts";

const [path = ""] = process.argv.slice(2);
const entry = {
  name: entryName(new URL("https://relay.test"), parseClusterId("prod")),
  context: "prod",
  port: 1,
  serverName: "prod.test",
  authorities: "authority\n",
  credential: { command: "/usr/bin/cluster-connect", args: ["credential"] },
};
await changeKubeconfig(path, new AbortController(), (document) => document.add([entry]));
