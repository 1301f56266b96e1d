import { AGENT_KEY, DONE, ENROLLMENT_CODE, MADE_CODE, REVOKED_KEY } from "@cluster-connect/api";
import { ConnectError } from "@cluster-connect/protocol";
import { writeListing } from "../../terminal/listing.ts";
import { printable } from "../../terminal/printable.ts";
import type { CommandContext } from "../context.ts";
import { type AdminFlags, connectAdmin } from "./api.ts";
import type { AdminListFlags } from "./clusters.ts";

const KEY = AGENT_KEY.omit({ activateBy: true });

/** Lists agent keys. */
export async function listKeys(flags: AdminListFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await writeListing(
    {
      key: "keys",
      items: await api.list("/v1/admin/keys", KEY),
      nameOf: ({ id }) => id,
      none: "There are no agent keys.",
      columns: [
        { title: "ID", text: ({ id }) => id },
        { title: "CLUSTER", text: ({ cluster }) => cluster },
        { title: "LAST USED", text: ({ lastUsedAt }) => lastUsedAt ?? "never" },
        { title: "ADDED BY", text: ({ addedBy }) => addedBy },
        { title: "STATE", text: ({ state, revokedAt }) => (revokedAt === null ? state : `revoked ${revokedAt}`) },
      ],
    },
    flags.output,
    context.deps,
  );
}

/** Makes an agent key worthless. */
export async function revokeKey(id: string, flags: AdminFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  const { dropped, left } = await api.send("DELETE", `/v1/admin/keys/${encodeURIComponent(id)}`, REVOKED_KEY);
  const { stderr } = context.deps;
  stderr.write("The key is revoked; its tunnels end within seconds.\n");
  for (const key of dropped)
    stderr.write(`The key ${printable(key)}, which it had let in, was not used yet and is revoked too.\n`);
  for (const key of left) stderr.write(`The key ${printable(key)}, which it had let in, is in use and stays valid.\n`);
}

const CODE = ENROLLMENT_CODE.omit({ createdAt: true });

/** Lists enrollment codes by their ids; the codes themselves are kept nowhere. */
export async function listCodes(flags: AdminListFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await writeListing(
    {
      key: "codes",
      items: await api.list("/v1/admin/codes", CODE),
      nameOf: ({ id }) => id,
      none: "There are no enrollment codes.",
      columns: [
        { title: "ID", text: ({ id }) => id },
        { title: "CLUSTER", text: ({ cluster }) => cluster },
        { title: "EXPIRES", text: ({ expiresAt }) => expiresAt },
        { title: "USES", text: ({ uses, maxUses }) => `${uses}/${maxUses}` },
        { title: "MADE BY", text: ({ createdBy }) => createdBy },
        { title: "REVOKED", text: ({ revokedAt }) => revokedAt ?? "" },
      ],
    },
    flags.output,
    context.deps,
  );
}

export interface CodesCreateFlags extends AdminFlags {
  readonly name?: readonly string[];
  readonly expires: number;
  readonly uses: number;
  readonly output: "text" | "json";
}

/** Makes a code and prints it, once. */
export async function createCode(flags: CodesCreateFlags, context: CommandContext): Promise<void> {
  const { deps } = context;
  const [cluster, ...more] = flags.name ?? [];
  if (cluster === undefined || more.length > 0) throw new ConnectError("CC_USAGE", "Name one cluster with -n");
  const api = await connectAdmin(flags, context);
  const body = { cluster, expiresSeconds: flags.expires, maxUses: flags.uses };
  const made = await api.send("POST", "/v1/admin/codes", MADE_CODE.omit({ createdAt: true }), body);
  if (flags.output === "json") {
    deps.stdout.write(`${JSON.stringify(made, undefined, 2)}\n`);
    return;
  }
  deps.stderr.write(`An agent joins as cluster ${cluster} with this code, until ${printable(made.expiresAt)}.\n`);
  deps.stdout.write(`${printable(made.code)}\n`);
}

/** Makes an enrollment code worthless. */
export async function revokeCode(id: string, flags: AdminFlags, context: CommandContext): Promise<void> {
  const api = await connectAdmin(flags, context);
  await api.send("DELETE", `/v1/admin/codes/${encodeURIComponent(id)}`, DONE);
  context.deps.stderr.write("The code is revoked.\n");
}
