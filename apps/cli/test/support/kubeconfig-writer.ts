/** A process that adds and removes entries without end, to be killed at any moment. */
import { parseClusterId } from "@cluster-connect/protocol";
import { entryName } from "../../src/kubeconfig/entry.ts";
import { changeKubeconfig } from "../../src/kubeconfig/file.ts";

const [path = ""] = process.argv.slice(2);
const { signal } = new AbortController();
const entry = {
  name: entryName(new URL("https://relay.test"), parseClusterId("prod")),
  context: "prod",
  port: 1,
  serverName: "prod.test",
  authorities: "authority\n".repeat(2_000),
  credential: { command: "/usr/bin/cluster-connect", args: ["credential"] },
};

for (let round = 0; ; round++) {
  await changeKubeconfig(path, { signal }, (document) => document.add([entry]));
  if (round === 0) process.send?.("began");
  await changeKubeconfig(path, { signal }, (document) => document.remove([entry.name], "office"));
}
