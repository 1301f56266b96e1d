import type { Outside } from "../cluster.ts";

/** Runs a command; rejects when its code is not 0. */
export type Run = (command: string, args: readonly string[], signal: AbortSignal) => Promise<string>;

const ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";

/** A container on kind's network as what is outside of its node; only this one has a route to the pods. */
export function outsideOfKind(
  node: string,
  options: { readonly signal: AbortSignal },
  deps: { readonly run: Run },
): Outside {
  const docker = (...args: readonly string[]): Promise<string> => deps.run("docker", args, options.signal);
  const inspect = async (format: string): Promise<string> => (await docker("inspect", "--format", format, node)).trim();
  return {
    refuse: async () => {
      const fromNetwork = ["-i", "eth0", "-m", "conntrack", "--ctstate", "NEW", "-j", "DROP"];
      await docker("exec", node, "iptables", "-I", "FORWARD", ...fromNetwork);
    },
    reaches: async (address, port) => {
      const dial = `ip route add ${address} via ${await inspect(ADDRESS)} || exit
        timeout 2 bash -c "exec 3<>/dev/tcp/${address}/${port}" 2> /dev/null && echo yes || echo no`;
      const container = ["--rm", "--network", "kind", "--cap-add", "NET_ADMIN", "--entrypoint", "sh"];
      return (await docker("run", ...container, await inspect("{{.Image}}"), "-c", dial)).trim() === "yes";
    },
  };
}
