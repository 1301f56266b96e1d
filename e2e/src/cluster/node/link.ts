import { ConnectError } from "@cluster-connect/protocol";
import { runToEnd } from "../../process/run-to-end.ts";
import { expectSuccess, type Namespaces } from "./namespaces.ts";
import { NODE_PATH } from "./prerequisites.ts";

/** A pair of interfaces between the host and a node, and the addresses on them. */
export interface Link {
  readonly host: string;
  readonly node: string;
  /** Addresses of this node's pods; the host has a route to them. */
  readonly podRange: string;
}

const MAX_NODES = 256;
const INSIDE = "uplink";
const TAKEN = "File exists";

const addresses = (index: number): Link => ({
  host: `10.245.${index}.1`,
  node: `10.245.${index}.2`,
  podRange: `10.244.${index}.0/24`,
});

/**
 * Links the host with a node's namespaces.
 *
 * The kernel removes the interface and the route with the namespaces. The interface's name claims the addresses:
 * of two that want the same at the same time, one gets the next.
 *
 * @throws ConnectError `CC_KUBERNETES_UNAVAILABLE` when no range is free, or `ip` fails.
 */
export async function makeLink(namespaces: Namespaces, options: { readonly signal: AbortSignal }): Promise<Link> {
  const { pid } = namespaces.program;
  const ip = async (...args: readonly string[]): Promise<void> => {
    expectSuccess("ip", await runToEnd("ip", args, { env: { PATH: NODE_PATH }, signal: options.signal }));
  };
  for (let index = 0; index < MAX_NODES; index++) {
    const outside = `cc-node${index}`;
    try {
      await ip("link", "add", outside, "type", "veth", "peer", "name", INSIDE, "netns", String(pid));
    } catch (error) {
      if (error instanceof ConnectError && error.message.includes(TAKEN)) continue;
      throw error;
    }
    const link = addresses(index);
    await ip("address", "add", `${link.host}/30`, "dev", outside);
    await ip("link", "set", outside, "up");
    await ip("route", "add", link.podRange, "via", link.node);
    await namespaces.run("ip", ["address", "add", `${link.node}/30`, "dev", INSIDE]);
    await namespaces.run("ip", ["link", "set", INSIDE, "up"]);
    await namespaces.run("ip", ["route", "add", "default", "via", link.host]);
    return link;
  }
  throw new ConnectError("CC_KUBERNETES_UNAVAILABLE", `This machine has ${MAX_NODES} nodes already`);
}
